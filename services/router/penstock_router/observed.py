"""What the operator and the status service are told of each account: what the router really does with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.router.v1 import router_pb2
from penstock_router.messages import cooldown_message
from penstock_routing import outcomes as o
from penstock_routing.accounts import ACTIVE
from penstock_routing.condition import Phase
from penstock_routing.health import Key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from penstock_router.desired import Desired
    from penstock_router.messages import Word
    from penstock_router.sessions import EdgeSession
    from penstock_routing import AccountFacts

_NAMED: Final = frozenset({o.CREDENTIAL_INVALID, o.QUOTA_EXHAUSTED, o.FORBIDDEN, o.MODEL_MISSING})
"""Classes that are their own reason; the rest is Cooling."""


def observed(
    desired: Desired, words: Mapping[Key, Word], sessions: Sequence[EdgeSession], now: float
) -> router_pb2.Observed:
    """Describe every account at `now`."""
    by_account: dict[str, dict[Key, Word]] = {}
    for key, word in words.items():
        by_account.setdefault(key.account, {})[key] = word
    rows = []
    for name, facts in desired.accounts.items():
        said = by_account.get(name, {})
        reason, message = judge(facts, said)
        rows.append(
            router_pb2.AccountObserved(
                name=name,
                provider=facts.provider,
                mode=facts.mode,
                ready=reason == "Ready",
                reason=reason,
                cooldowns=[cooldown_message(key, word, now) for key, word in sorted(said.items())],
                in_flight=sum(session.in_flight.get(name, 0) for session in sessions),
                requests_per_minute=sum(
                    session.demand[name].requests_per_minute for session in sessions if name in session.demand
                ),
                tier=facts.tier,
                weight=facts.weight,
                credential_hash=facts.credential_hash,
                generation=facts.generation,
                message=message or desired.messages.get(name, ""),
            )
        )
    return router_pb2.Observed(
        catalog_version=desired.version,
        accounts=rows,
        edge_sessions={session.name: session.catalog_version for session in sessions},
    )


def judge(facts: AccountFacts, words: Mapping[Key, Word]) -> tuple[str, str]:
    """Return (reason, message) of one account: Ready while any of its models takes requests."""
    if facts.not_served:
        return facts.not_served, ""
    if facts.mode != ACTIVE:
        return facts.mode, "takes no new requests"
    if facts.weight <= 0:
        return "NoWeight", "its weight is 0"
    whole = words.get(Key(facts.name))
    if whole is not None and whole.phase is not Phase.RETURNING:
        return _reason(whole), whole.reason()
    out = {key.model: word for key, word in words.items() if key.model and word.phase is not Phase.RETURNING}
    served = [model for model in facts.models if model in out]
    if served and len(served) == len(facts.models):
        word = out[served[0]]
        return _reason(word), word.reason()
    if served:
        return "Ready", f"{len(served)} of {len(facts.models)} models take no requests now"
    return "Ready", ""


def _reason(word: Word) -> str:
    return word.cls if word.cls in _NAMED else "Cooling"


def without_countdowns(message: router_pb2.Observed) -> bytes:
    """Return what has to differ for a change to be worth telling."""
    copy = router_pb2.Observed()
    copy.CopyFrom(message)
    for account in copy.accounts:
        for cooldown in account.cooldowns:
            cooldown.remaining_ms = 0
    return copy.SerializeToString(deterministic=True)
