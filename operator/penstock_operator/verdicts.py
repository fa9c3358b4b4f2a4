"""The policy chains: what is known of one object, into its conditions. Pure, and the only place that gives reasons.

Each chain asks in the order in which things can go wrong. What depends on an aspect that does not hold is Unknown, not
False: nobody has been able to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock_operator.conditions import (
    ACCEPTED,
    ISSUED,
    PROGRAMMED,
    REACHABLE,
    READY,
    RESOLVED_REFS,
    Condition,
    false,
    true,
    unknown,
)

if TYPE_CHECKING:
    from penstock_operator.credentials import Proof
    from penstock_operator.sights import Sight


_ASPECTS: Final = {
    "UpstreamAccount": (RESOLVED_REFS, PROGRAMMED, REACHABLE),
    "Model": (RESOLVED_REFS, PROGRAMMED),
    "Plan": (PROGRAMMED,),
    "APIKey": (RESOLVED_REFS, ISSUED, PROGRAMMED),
}
"""What is said of each kind, between Accepted and Ready."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What the compiler, or the publisher, found wrong: the condition that fails, and why."""

    condition: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What is known of an `UpstreamAccount`. `carried`: Reachable as it was last written, where that still holds."""

    failure: Failure | None
    mode: str
    programmed: Condition
    sight: Sight | None
    has_credential: bool
    held_back: bool
    in_force: str
    proof: Proof | None
    carried: Condition | None


def account(facts: AccountFacts) -> tuple[Condition, ...]:
    """Judge an account. Ready is the routers' word: whether it takes requests now."""
    accepted = _accepted(facts.failure)
    if not accepted.holds:
        return _stopped(accepted, *_ASPECTS["UpstreamAccount"])
    resolved = _resolved(facts.failure)
    reachable = _reachable(facts)
    return accepted, resolved, facts.programmed, reachable, _account_ready(facts, resolved)


def _account_ready(facts: AccountFacts, resolved: Condition) -> Condition:
    if not resolved.holds:
        return false(READY, resolved.reason, resolved.message)
    if facts.failure is not None:
        return false(READY, facts.failure.reason, facts.failure.message)
    if facts.sight is None or facts.programmed.status == "Unknown":
        return unknown(READY, facts.programmed.reason, facts.programmed.message or "no router tells of it yet")
    # An account whose change is still on its way is what the routers say of it as it was.
    if facts.sight.ready:
        return true(READY, facts.sight.message)
    return false(READY, facts.sight.reason, facts.sight.message or "takes no requests now")


def _reachable(facts: AccountFacts) -> Condition:
    if not facts.has_credential or facts.failure is not None:
        return unknown(REACHABLE, "NotTried", "there is nothing to try it with")
    if facts.mode == "Disabled":
        return unknown(REACHABLE, "NotTried", "it is Disabled")
    refused_by_use = facts.sight is not None and facts.sight.reason == "CredentialInvalid" and not facts.held_back
    if facts.proof is None:
        return facts.carried or unknown(REACHABLE, "NotTried", "the credential has not been tried yet")
    stays = f"; the one before ({facts.in_force}) stays in force" if facts.held_back else ""
    match facts.proof.result:
        case "Refused":
            return false(
                REACHABLE, "AuthRejected", f"the provider refuses the credential ({facts.proof.status}){stays}"
            )
        case _ if refused_by_use:
            return false(REACHABLE, "AuthRejected", "the provider refuses requests with the credential")
        case "Ok":
            return true(REACHABLE)
        case "Failed":
            answer = f"answered with {facts.proof.status}" if facts.proof.status else "did not answer"
            return false(REACHABLE, "ProbeFailed", f"the provider {answer} when the credential was tried{stays}")
        case "NoRouter":
            return facts.carried or unknown(REACHABLE, "NoRouter", f"no router could try the credential{stays}")
    return unknown(REACHABLE, "CannotProbe", "this provider has nothing to ask that costs nothing")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a `Model`. `routers`: whether any router tells which accounts are ready."""

    failure: Failure | None
    programmed: Condition
    routers: bool
    ready_accounts: int
    total_accounts: int


def model(facts: ModelFacts) -> tuple[Condition, ...]:
    """Judge a model. It is ready while any account takes requests for it."""
    accepted = _accepted(facts.failure)
    if not accepted.holds:
        return _stopped(accepted, *_ASPECTS["Model"])
    return accepted, _resolved(facts.failure), facts.programmed, _model_ready(facts)


def _model_ready(facts: ModelFacts) -> Condition:
    if not facts.total_accounts:
        return false(READY, "NoReadyAccount", "no account can serve it")
    if not facts.routers or facts.programmed.status == "Unknown":
        return unknown(READY, facts.programmed.reason, facts.programmed.message or "no router tells of its accounts")
    if not facts.ready_accounts:
        return false(READY, "NoReadyAccount", "no account takes requests for it now")
    return true(READY)


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What is known of a `Plan`."""

    failure: Failure | None
    programmed: Condition


def plan(facts: PlanFacts) -> tuple[Condition, ...]:
    """Judge a plan. It refers to nothing, so it is ready as soon as it is loaded."""
    accepted = _accepted(facts.failure)
    if not accepted.holds:
        return _stopped(accepted, *_ASPECTS["Plan"])
    return accepted, facts.programmed, _as_loaded(facts.programmed)


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What is known of an `APIKey`. `issued`: its text stands in a Secret; `fault`: what is wrong with that Secret."""

    failure: Failure | None
    fault: Failure | None
    issued: bool
    notice: str
    mode: str
    expired: bool
    programmed: Condition


def key(facts: KeyFacts) -> tuple[Condition, ...]:
    """Judge a declared key. It is ready when its holder can use it."""
    accepted = _accepted(facts.failure)
    if not accepted.holds:
        return _stopped(accepted, *_ASPECTS["APIKey"])
    return accepted, _key_resolved(facts), _issued(facts), facts.programmed, _key_ready(facts)


def _key_resolved(facts: KeyFacts) -> Condition:
    for failure in (facts.failure, facts.fault):
        if failure is not None and failure.condition == RESOLVED_REFS:
            return false(RESOLVED_REFS, failure.reason, failure.message)
    return true(RESOLVED_REFS)


def _issued(facts: KeyFacts) -> Condition:
    if facts.issued:
        return true(ISSUED, facts.notice)
    if facts.fault is not None:
        return false(ISSUED, facts.fault.reason, facts.fault.message)
    return unknown(ISSUED, "Pending", "the key has not been made yet")


def unreadable(kind: str, message: str) -> tuple[Condition, ...]:
    """Judge an object whose spec cannot be understood: one that was written past the rules of its definition."""
    return _stopped(false(ACCEPTED, "InvalidSpec", message), *_ASPECTS[kind])


def _key_ready(facts: KeyFacts) -> Condition:
    if not facts.issued:
        issued = _issued(facts)
        return Condition(READY, issued.status, issued.reason, issued.message)
    if facts.failure is not None:
        return false(READY, facts.failure.reason, facts.failure.message)
    if facts.mode == "Revoked":
        return false(READY, "Revoked", "it is revoked")
    if facts.expired:
        return false(READY, "Expired", "its expirationTime has passed")
    return _as_loaded(facts.programmed)


def _as_loaded(programmed: Condition) -> Condition:
    if programmed.holds:
        return true(READY)
    return unknown(READY, programmed.reason, programmed.message)


def _accepted(failure: Failure | None) -> Condition:
    if failure is not None and failure.condition == ACCEPTED:
        return false(ACCEPTED, failure.reason, failure.message)
    return true(ACCEPTED)


def _resolved(failure: Failure | None) -> Condition:
    if failure is not None and failure.condition == RESOLVED_REFS:
        return false(RESOLVED_REFS, failure.reason, failure.message)
    return true(RESOLVED_REFS)


def _stopped(accepted: Condition, *rest: str) -> tuple[Condition, ...]:
    """Say of an object that is not accepted that nobody has looked further, and that it is not ready."""
    after = [unknown(kind, "NotAccepted", "it is not accepted") for kind in rest]
    return accepted, *after, false(READY, accepted.reason, accepted.message)
