"""Allow and its answers between the wire and the allowance. Pure translation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from penstock.auth.v1 import auth_pb2
from penstock_edge.allowance import REQUESTS
from penstock_edge.amounts import NOTHING, Amounts
from penstock_edge.key_facts import KeyFacts
from penstock_edge.limits import LimitState
from penstock_edge.records import Refused

if TYPE_CHECKING:
    from penstock_edge.calls import Call, Declared
    from penstock_edge.records import Kind, Reason

# A denial is worth remembering for a moment at least, lest each request behind it ask the same.
_LEAST_VALID_SECONDS: Final = 0.02
_PREFIX: Final = "DENIAL_REASON_"


@dataclass(frozen=True, slots=True)
class Answer:
    """What auth said: an allowance, or `refused` for `valid` seconds. `reason` is empty for an allowance."""

    epoch: str
    store_time_ms: int
    key: KeyFacts | None
    edges: int
    limits: tuple[LimitState, ...]
    reason: str = ""
    refused: Refused | None = None
    valid: float = 0.0
    lease_id: str = ""
    requests: int = 0
    life: float = 0.0
    holding: Amounts = NOTHING


def request_of(call: Call, digest: bytes, session_id: str, catalog_version: str) -> auth_pb2.AllowRequest:
    """Return the message that asks `call`."""
    return auth_pb2.AllowRequest(
        edge_session=session_id,
        seq=call.seq,
        key_sha256=digest,
        kind=_kind(call.kind),
        need_requests=call.need_requests,
        want_requests=call.want_requests,
        keeping=_holding(call.keeping),
        need=_holding(call.need),
        want=_holding(call.want),
        returned=[auth_pb2.LeaseReturn(lease_id=i, spent=n) for i, n in call.returned],
        catalog_version=catalog_version,
        epoch=call.epoch,
    )


def answer_of(message: auth_pb2.AllowResponse) -> Answer:
    """Return what the message says."""
    key = _facts(message.key) if message.HasField("key") else None
    limits = tuple(_limit(x) for x in message.limits)
    if message.WhichOneof("result") == "denial":
        denial = message.denial
        reason = auth_pb2.DenialReason.Name(denial.reason).removeprefix(_PREFIX)
        refused = Refused(
            reason=cast("Reason", reason),
            limit=denial.limit,
            amount=denial.amount,
            unit=denial.unit,
            reset_ms=denial.reset_ms,
            key=key,
        )
        return Answer(
            epoch=message.epoch,
            store_time_ms=message.store_time_ms,
            key=key,
            edges=message.edge_count,
            limits=limits,
            reason=reason,
            refused=refused,
            valid=max(denial.valid_ms / 1000, _LEAST_VALID_SECONDS),
        )
    allowance = message.allowance
    held = allowance.holding
    return Answer(
        epoch=message.epoch,
        store_time_ms=message.store_time_ms,
        key=key,
        edges=message.edge_count,
        limits=limits,
        lease_id=allowance.lease_id,
        requests=allowance.requests,
        life=allowance.life_ms / 1000,
        holding=Amounts(held.slots, held.input_tokens, held.output_tokens, held.micro_usd),
    )


def declaration_of(digest: bytes, declared: Declared) -> auth_pb2.KeyDeclaration:
    """Return the message that declares all of one key."""
    return auth_pb2.KeyDeclaration(
        key_sha256=digest,
        holding=_holding(declared.holding),
        leases=[
            auth_pb2.LeaseHeld(lease_id=i, kind=_kind(kind), unspent=units, expires_in_ms=int(seconds * 1000))
            for kind, i, units, seconds in declared.leases
        ],
        admissions=[
            auth_pb2.Admission(admitted_at_ms=at, kind=_kind(kind), requests=count)
            for at, kind, count in declared.admissions
        ],
    )


def _kind(kind: Kind) -> auth_pb2.LeaseKind.ValueType:
    return auth_pb2.LEASE_KIND_REQUESTS if kind == REQUESTS else auth_pb2.LEASE_KIND_COUNT_TOKENS


def _holding(amounts: Amounts) -> auth_pb2.Holding:
    return auth_pb2.Holding(
        slots=amounts.slots,
        input_tokens=amounts.input_tokens,
        output_tokens=amounts.output_tokens,
        micro_usd=amounts.micro_usd,
    )


def _limit(x: auth_pb2.LimitState) -> LimitState:
    return LimitState(
        name=x.name,
        unit=x.unit,
        amount=x.amount,
        remaining=x.remaining,
        reset_ms=x.reset_ms,
        window_ms=x.window_ms,
        scope=x.scope,
    )


def _facts(key: auth_pb2.KeyFacts) -> KeyFacts:
    return KeyFacts(
        key_id=key.key_id,
        project=key.project,
        plan=key.plan,
        models=tuple(key.models),
        over_budget=key.over_budget,
        on_store_outage=key.on_store_outage,
        credit_required=key.credit_required,
        translation=key.translation,
        messages_translation=key.messages_translation,
        error_profile=key.error_profile,
        price_multiplier_ppm=key.price_multiplier_ppm,
        max_concurrent_requests=key.max_concurrent_requests,
        expires_at_ms=key.expires_at_ms,
        key_prefix=key.key_prefix,
        shows_route=key.route_header == "Show",
    )
