"""Between the messages on the wire and the routing library's types. Wire times are relative, ours are `now`'s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.router.v1 import router_pb2
from penstock_routing import outcomes as o
from penstock_routing.accounts import Hints, Share
from penstock_routing.candidates import Cooldown
from penstock_routing.condition import FOREVER, Phase
from penstock_routing.outcomes import Outcome

if TYPE_CHECKING:
    from penstock_routing.condition import Condition
    from penstock_routing.health import Key
    from penstock_routing.policy import Policy


@dataclass(frozen=True, slots=True)
class Word:
    """What is said of one condition. Equal words need not be said again. `until`: store seconds, of the next chance."""

    phase: Phase
    cls: str
    until: float
    trial_session: str = ""
    ramp_percent: int = 0

    def reason(self) -> str:
        """Say it for people."""
        if self.phase is Phase.COOLING:
            return f"{self.cls}: takes no new requests"
        if self.phase is Phase.HALF_OPEN:
            return f"after {self.cls}: waits for one request to succeed"
        return f"after {self.cls}: takes {self.ramp_percent} % of its weight"


def word(condition: Condition, policy: Policy, now: float) -> Word | None:
    """Return what there is to say of a condition at `now`; None when it is healthy."""
    phase = condition.phase(now)
    if phase is Phase.HEALTHY:
        return None
    if phase is Phase.COOLING:
        until = condition.until()
        if until == FOREVER:
            until = min(state.probe_at for state in condition.classes.values() if state.until == FOREVER)
        return Word(phase, condition.leading(), until)
    if phase is Phase.HALF_OPEN:
        session = condition.trial_session if condition.trial_until > now else ""
        return Word(phase, condition.cls, 0.0, trial_session=session)
    return Word(phase, condition.cls, 0.0, ramp_percent=condition.ramp_percent(policy))


def cooldown(key: Key, said: Word | None, now: float) -> Cooldown:
    """Turn a word into the library's form."""
    if said is None:
        return Cooldown(account=key.account, model=key.model, operation=key.operation)
    return Cooldown(
        account=key.account,
        model=key.model,
        operation=key.operation,
        cls=said.cls,
        # A probe that is due or under way keeps the account out a little longer.
        remaining_seconds=max(said.until - now, 1.0) if said.phase is Phase.COOLING else 0.0,
        half_open=said.phase is Phase.HALF_OPEN,
        trial_session=said.trial_session,
        ramp_percent=said.ramp_percent,
        reason=said.reason(),
    )


def cooldown_message(key: Key, said: Word | None, now: float) -> router_pb2.Cooldown:
    """Turn a word into its message; of a cleared condition only the key counts."""
    item = cooldown(key, said, now)
    return router_pb2.Cooldown(
        account=item.account,
        model=item.model,
        operation=item.operation,
        remaining_ms=int(item.remaining_seconds * 1000),
        half_open=item.half_open,
        trial_session=item.trial_session,
        ramp_percent=item.ramp_percent,
        reason=item.reason,
        **{"class": item.cls},
    )


def share_message(share: Share) -> router_pb2.Share:
    """Turn a share into its message."""
    return router_pb2.Share(
        slots=share.slots,
        requests_per_minute=share.requests_per_minute,
        request_burst=share.request_burst,
        tokens_per_minute=share.tokens_per_minute,
        token_burst=share.token_burst,
    )


def share(message: router_pb2.Share) -> Share:
    """Read a share."""
    return Share(
        slots=message.slots,
        requests_per_minute=message.requests_per_minute,
        request_burst=message.request_burst,
        tokens_per_minute=message.tokens_per_minute,
        token_burst=message.token_burst,
    )


def outcome(message: router_pb2.Outcome, now: float) -> Outcome:
    """Read an outcome whose report arrived at `now`. Unknown classes are left as they are: policy knows what to do."""
    return Outcome(
        request_id=message.request_id,
        project=message.project,
        account=message.account,
        model=message.model,
        operation=message.operation or o.MESSAGES,
        cls=getattr(message, "class"),
        status=message.status,
        retry_after=message.retry_after_ms / 1000 if message.retry_after_ms >= 0 else None,
        sent_at=now - max(message.sent_ago_ms, 0) / 1000,
        ended_at=now - max(message.ended_ago_ms, 0) / 1000,
        first_byte=message.first_byte_ms >= 0,
        tokens=message.tokens,
        trial=message.trial,
        hints=_hints(message.hints) if message.HasField("hints") else None,
    )


def _hints(message: router_pb2.Hints) -> Hints:
    return Hints(
        requests_limit=message.requests_limit,
        requests_remaining=message.requests_remaining,
        requests_reset_ms=message.requests_reset_ms,
        tokens_limit=message.tokens_limit,
        tokens_remaining=message.tokens_remaining,
        tokens_reset_ms=message.tokens_reset_ms,
    )
