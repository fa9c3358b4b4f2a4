"""Protobuf messages to auth's own words and back. Pure; what is missing or negative on the wire is refused here."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from penstock.auth.v1 import admin_pb2, auth_pb2
from penstock_auth.counters import (
    Admission,
    Amounts,
    Kind,
    LeaseHeld,
    LeaseReturn,
    Reason,
)
from penstock_auth.errors import Invalid
from penstock_auth.keys import KeyState
from penstock_auth.postings import Incoming
from penstock_auth.pricing import Usage
from penstock_auth.settlement import Attempt, Poison, Settlement, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_auth.audit import AuditEntry
    from penstock_auth.counters import Denial, Grant, LimitState
    from penstock_auth.credit import Entry
    from penstock_auth.keys import Key
    from penstock_auth.plans import CatalogView
    from penstock_auth.projects import Project
    from penstock_auth.usage import AttemptRow, Summary, UsageRow
    from penstock_catalog.documents import Plan

_KINDS: Final = {
    auth_pb2.LEASE_KIND_UNSPECIFIED: Kind.REQUESTS,
    auth_pb2.LEASE_KIND_REQUESTS: Kind.REQUESTS,
    auth_pb2.LEASE_KIND_COUNT_TOKENS: Kind.COUNT_TOKENS,
}
_STATES: Final = {
    auth_pb2.DELIVERY_STATE_COMPLETE: State.COMPLETE,
    auth_pb2.DELIVERY_STATE_CLIENT_LEFT: State.CLIENT_LEFT,
    auth_pb2.DELIVERY_STATE_ERROR_BEFORE_OUTPUT: State.ERROR_BEFORE_OUTPUT,
    auth_pb2.DELIVERY_STATE_ERROR_AFTER_OUTPUT: State.ERROR_AFTER_OUTPUT,
    auth_pb2.DELIVERY_STATE_ABANDONED: State.ABANDONED,
}
REASONS: Final = {
    Reason.REQUESTS: auth_pb2.DENIAL_REASON_REQUESTS,
    Reason.TOKENS: auth_pb2.DENIAL_REASON_TOKENS,
    Reason.COST: auth_pb2.DENIAL_REASON_COST,
    Reason.CONCURRENCY: auth_pb2.DENIAL_REASON_CONCURRENCY,
    Reason.SPEND_LIMIT: auth_pb2.DENIAL_REASON_SPEND_LIMIT,
    Reason.CREDIT: auth_pb2.DENIAL_REASON_CREDIT,
    Reason.TOO_LARGE: auth_pb2.DENIAL_REASON_TOO_LARGE,
    Reason.RECOVERING: auth_pb2.DENIAL_REASON_RECOVERING,
}

_MOST: Final = 2**53

# Fields of the messages in the order of the records' own: read in one step, a dozen costs as much as two would by name.
_SETTLEMENT: Final = attrgetter(*Settlement.__struct_fields__)
_ATTEMPT: Final = attrgetter(*("class" if name == "cls" else name for name in Attempt.__struct_fields__))
_USAGE: Final = attrgetter(*Usage.__struct_fields__)


def count(name: str, value: int) -> int:
    """Return a number that may not be negative, nor beyond what every store counts exactly. Raises Invalid."""
    if value < 0:
        raise Invalid(f"{name} is negative")
    if value > _MOST:
        raise Invalid(f"{name} is beyond {_MOST}")
    return value


def session_name(name: str) -> str:
    """Return the name of an edge session. Raises Invalid."""
    if not 0 < len(name) <= 128 or not name.isprintable():
        raise Invalid("edge_session is 1 to 128 printable characters")
    return name


def key_digest(digest: bytes) -> bytes:
    """Return the digest of a key. Raises Invalid."""
    if len(digest) != 32:
        raise Invalid("key_sha256 has 32 bytes")
    return digest


def amounts(holding: auth_pb2.Holding) -> Amounts:
    """Read a holding."""
    return Amounts(
        slots=count("slots", holding.slots),
        input_tokens=count("input_tokens", holding.input_tokens),
        output_tokens=count("output_tokens", holding.output_tokens),
        micro_usd=count("micro_usd", holding.micro_usd),
    )


def kind_of(kind: auth_pb2.LeaseKind.ValueType) -> Kind:
    """Read a kind of lease."""
    found = _KINDS.get(kind)
    if found is None:
        raise Invalid("kind of lease is not one of this release")
    return found


def returns(leases: Iterable[auth_pb2.LeaseReturn]) -> tuple[LeaseReturn, ...]:
    """Read returned leases."""
    return tuple(LeaseReturn(each.lease_id, count("spent", each.spent)) for each in leases)


def leases_held(leases: Iterable[auth_pb2.LeaseHeld]) -> tuple[LeaseHeld, ...]:
    """Read leases that a session still has."""
    return tuple(
        LeaseHeld(
            each.lease_id,
            count("unspent", each.unspent),
            count("expires_in_ms", each.expires_in_ms),
            kind_of(each.kind),
        )
        for each in leases
    )


def admissions(requests: Iterable[auth_pb2.Admission]) -> tuple[Admission, ...]:
    """Read admissions without a ledger row."""
    return tuple(
        Admission(count("admitted_at_ms", each.admitted_at_ms), count("requests", each.requests), kind_of(each.kind))
        for each in requests
    )


def key_facts(key: Key, plan: Plan | None) -> auth_pb2.KeyFacts:
    """Write what an edge needs to know of a key; without a plan, the little that is certain."""
    facts = auth_pb2.KeyFacts(
        key_id=key.id,
        project=key.project,
        plan=key.plan,
        expires_at_ms=key.expires_at_ms,
        key_prefix=key.prefix,
    )
    if plan is not None:
        facts.models.extend(plan.models)
        facts.over_budget = plan.over_budget
        facts.on_store_outage = plan.on_store_outage
        facts.credit_required = plan.credit == "Required"
        facts.translation = plan.translation
        facts.messages_translation = plan.messages_translation
        facts.error_profile = plan.error_profile
        facts.price_multiplier_ppm = plan.price_multiplier_ppm
        facts.max_concurrent_requests = plan.max_concurrent_requests
        facts.route_header = plan.route_header
    return facts


def allowance(grant: Grant) -> auth_pb2.Allowance:
    """Write what was lent."""
    held = grant.holding
    return auth_pb2.Allowance(
        lease_id=grant.lease_id,
        requests=grant.requests,
        life_ms=grant.life_ms,
        holding=auth_pb2.Holding(
            slots=held.slots,
            input_tokens=held.input_tokens,
            output_tokens=held.output_tokens,
            micro_usd=held.micro_usd,
        ),
    )


def denial(found: Denial) -> auth_pb2.Denial:
    """Write why nothing was lent."""
    return auth_pb2.Denial(
        reason=REASONS[found.reason],
        limit=found.limit,
        unit=found.unit,
        amount=found.amount,
        reset_ms=found.reset_ms,
        valid_ms=found.valid_ms,
    )


def limit_state(state: LimitState) -> auth_pb2.LimitState:
    """Write where a limit stands."""
    return auth_pb2.LimitState(
        name=state.name,
        unit=state.unit.value,
        amount=state.amount,
        remaining=state.remaining,
        reset_ms=state.reset_ms,
        window_ms=state.window_ms,
        scope=state.scope.value,
    )


def incoming(message: auth_pb2.Settlement) -> Incoming:
    """Read a settlement; one of an unknown state is poison."""
    number, tries, *facts = _SETTLEMENT(message)
    request_id, edge_session = facts[0], facts[1]
    state = _STATES.get(number)
    if state is None:
        problem = Poison("malformed", "its delivery state is not one of this release")
        return Incoming(request_id, edge_session, message.SerializeToString, None, problem)
    attempts = tuple([Attempt(Usage(*_USAGE(usage)), *about) for usage, *about in map(_ATTEMPT, tries)])
    return Incoming(request_id, edge_session, message.SerializeToString, Settlement(state, attempts, *facts))


def usage_message(usage: Usage) -> auth_pb2.Usage:
    """Write tokens."""
    return auth_pb2.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_input_tokens=usage.cache_read_input_tokens,
        cache_write_5m_input_tokens=usage.cache_write_5m_input_tokens,
        cache_write_1h_input_tokens=usage.cache_write_1h_input_tokens,
    )


def usage_row(row: UsageRow) -> auth_pb2.UsageRow:
    """Write a ledger row."""
    return auth_pb2.UsageRow(
        request_id=row.request_id,
        project=row.project,
        key_id=row.key_id,
        account=row.account,
        model=row.model,
        state=row.state,
        estimated=row.estimated,
        usage=usage_message(row.usage),
        cost_micro=row.cost_micro,
        admitted_at_ms=row.admitted_at_ms,
        duration_ms=max(0, row.ended_at_ms - row.started_at_ms),
        attempts=[_attempt_row(each) for each in row.attempts],
        dialect=row.dialect,
        streamed=row.streamed,
        price_digest=row.price_digest,
    )


def _attempt_row(row: AttemptRow) -> auth_pb2.AttemptRow:
    attempt = auth_pb2.Attempt(
        index=row.index,
        account=row.account,
        status=row.status,
        usage=usage_message(row.usage),
        reported=row.reported,
        estimated=row.estimated,
        upstream_request_id=row.upstream_request_id,
        upstream_model=row.upstream_model,
        started_at_ms=row.started_at_ms,
        first_byte_ms=row.first_byte_ms,
        duration_ms=row.duration_ms,
        **{"class": row.cls},
    )
    return auth_pb2.AttemptRow(attempt=attempt, cost_micro=row.cost_micro)


def summary_message(summary: Summary) -> admin_pb2.UsageSummary:
    """Write sums."""
    return admin_pb2.UsageSummary(
        requests=summary.requests, usage=usage_message(summary.usage), cost_micro=summary.cost_micro
    )


def project_message(project: Project) -> admin_pb2.Project:
    """Write a project."""
    return admin_pb2.Project(
        name=project.name, created_at_ms=project.created_at_ms, balance_micro=project.balance_micro
    )


def key_message(key: Key, spent_micro: int, now_ms: int) -> admin_pb2.Key:
    """Write a key as it stands now; one that left the catalog shows as disabled."""
    state = key.state_at(now_ms)
    return admin_pb2.Key(
        id=key.id,
        prefix=key.prefix,
        project=key.project,
        plan=key.plan,
        name=key.name,
        state=(KeyState.DISABLED if state is KeyState.WITHDRAWN else state).value,
        created_at_ms=key.created_at_ms,
        expires_at_ms=key.expires_at_ms,
        spend_limit_micro=key.spend_limit_micro,
        spend_limit_period=key.spend_limit_period,
        spent_micro=spent_micro,
        source=key.source,
    )


def entry_message(entry: Entry) -> admin_pb2.CreditEntry:
    """Write a credit entry."""
    return admin_pb2.CreditEntry(
        id=entry.id,
        project=entry.project,
        kind=entry.kind,
        amount_micro=entry.amount_micro,
        request_id=entry.request_id,
        note=entry.note,
        created_at_ms=entry.created_at_ms,
        balance_micro=entry.balance_micro,
    )


def plan_messages(catalog: CatalogView) -> list[admin_pb2.Plan]:
    """Write the plans in force, by name."""
    return [_plan(plan) for _, plan in sorted(catalog.plans.items())]


def _plan(plan: Plan) -> admin_pb2.Plan:
    return admin_pb2.Plan(
        name=plan.name,
        models=plan.models,
        limits=[
            admin_pb2.PlanLimit(
                name=each.name,
                unit=each.unit,
                amount=each.amount,
                window_seconds=each.window_ms // 1000,
                scope=each.scope,
            )
            for each in plan.limits
        ],
        max_concurrent_requests=plan.max_concurrent_requests,
        credit=plan.credit,
        over_budget=plan.over_budget,
        on_store_outage=plan.on_store_outage,
        price_multiplier=multiplier_text(plan.price_multiplier_ppm),
        translation=plan.translation,
        messages_translation=plan.messages_translation,
        route_header=plan.route_header,
    )


def audit_message(entry: AuditEntry) -> admin_pb2.AuditEntry:
    """Write an act."""
    return admin_pb2.AuditEntry(
        id=entry.id,
        created_at_ms=entry.created_at_ms,
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
    )


def multiplier_text(ppm: int) -> str:
    """Write a multiplier as people do: 1000000 is `1.00`."""
    whole, part = divmod(ppm, 1_000_000)
    return f"{whole}.{f'{part:06d}'.rstrip('0').ljust(2, '0')}"
