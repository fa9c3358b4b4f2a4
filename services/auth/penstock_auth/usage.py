"""The ledger's reading side: rows for people, sums for reports, and the history that counters are rebuilt from."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, or_, select

from penstock_auth import projects
from penstock_auth.counters import LedgerRow
from penstock_auth.errors import Invalid, NotFound
from penstock_auth.postings import USAGE_COLUMNS
from penstock_auth.pricing import Usage
from penstock_auth.settlement import State
from penstock_auth.tables import attempts, settlements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

PAGE_ROWS: Final = 1000
MOST_PAGE_ROWS: Final = 10_000
# Rows committed in the last minutes keep their ids in a history, older ones are summed by key and minute.
_NAMED_MS: Final = 600_000
_MINUTE_MS: Final = 60_000
_ATTEMPT_PAGE: Final = 500

_WHOLE_INPUT: Final = (
    settlements.c.input_tokens
    + settlements.c.cache_read_input_tokens
    + settlements.c.cache_write_5m_input_tokens
    + settlements.c.cache_write_1h_input_tokens
)
_ROW: Final = select(
    settlements.c.request_id,
    settlements.c.project,
    settlements.c.key_id,
    settlements.c.model,
    settlements.c.state,
    settlements.c.estimated,
    settlements.c.streamed,
    settlements.c.dialect,
    settlements.c.cost_micro,
    settlements.c.price_digest,
    settlements.c.delivered,
    settlements.c.admitted_at_ms,
    settlements.c.started_at_ms,
    settlements.c.ended_at_ms,
    *USAGE_COLUMNS,
)


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt as it was committed, with its cost at the list price."""

    index: int
    account: str
    cls: str
    status: int
    reported: bool
    estimated: bool
    cost_micro: int
    upstream_request_id: str
    upstream_model: str
    started_at_ms: int
    first_byte_ms: int
    duration_ms: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One request as it was committed."""

    request_id: str
    project: str
    key_id: str
    model: str
    state: str
    estimated: bool
    streamed: bool
    dialect: str
    cost_micro: int
    price_digest: str
    delivered: int
    admitted_at_ms: int
    started_at_ms: int
    ended_at_ms: int
    usage: Usage
    attempts: tuple[AttemptRow, ...]

    @property
    def account(self) -> str:
        """Account of the delivered attempt, else of the last, `""` when none was made."""
        delivered = [each.account for each in self.attempts if each.index == self.delivered]
        return (delivered or [each.account for each in self.attempts[-1:]] or [""])[0]


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums over rows: what was charged for."""

    requests: int
    usage: Usage
    cost_micro: int


def show(connection: Connection, request_id: str) -> UsageRow:
    """Return one request's row; NotFound when it has none (yet)."""
    rows = _with_attempts(connection, connection.execute(_ROW.where(settlements.c.request_id == request_id)).all())
    if not rows:
        raise NotFound(f"the ledger has no request {request_id!r}; it may not be settled yet")
    return rows[0]


def list_rows(
    connection: Connection, *, project: str, since_ms: int, state: str, limit: int, page_token: str
) -> tuple[list[UsageRow], str]:
    """Return rows newest first, and the token of the next page (`""`: this was the last).

    Raises Invalid, and NotFound for a project that does not exist.
    """
    projects.expect(connection, project)
    if state and state not in set(State):
        raise Invalid(f"state is one of {', '.join(State)}")
    limit = min(limit, MOST_PAGE_ROWS) if limit > 0 else PAGE_ROWS
    query = _ROW.order_by(settlements.c.admitted_at_ms.desc(), settlements.c.request_id.desc()).limit(limit + 1)
    if project:
        query = query.where(settlements.c.project == project)
    if since_ms > 0:
        query = query.where(settlements.c.admitted_at_ms >= since_ms)
    if state:
        query = query.where(settlements.c.state == state)
    if page_token:
        at_ms, request_id = _parse_token(page_token)
        query = query.where(
            # Says no more than the next, but an index is read from there on.
            settlements.c.admitted_at_ms <= at_ms,
            or_(
                settlements.c.admitted_at_ms < at_ms,
                and_(settlements.c.admitted_at_ms == at_ms, settlements.c.request_id < request_id),
            ),
        )
    found = connection.execute(query).all()
    rows = _with_attempts(connection, found[:limit])
    last = rows[-1] if len(found) > limit else None
    return rows, f"{last.admitted_at_ms}.{last.request_id}" if last else ""


def summarize(connection: Connection, *, project: str, since_ms: int, until_ms: int) -> Summary:
    """Sum the rows of a project (of all, for `""`) admitted from `since_ms` until before `until_ms` (0: no end).

    Raises Invalid, and NotFound for a project that does not exist.
    """
    projects.expect(connection, project)
    if until_ms < 0:
        raise Invalid("until_ms is a time before 1970")
    query = select(
        func.count(),
        func.coalesce(func.sum(settlements.c.cost_micro), 0),
        *(func.coalesce(func.sum(column), 0) for column in USAGE_COLUMNS),
    ).select_from(settlements)
    if project:
        query = query.where(settlements.c.project == project)
    if since_ms > 0:
        query = query.where(settlements.c.admitted_at_ms >= since_ms)
    if until_ms > 0:
        query = query.where(settlements.c.admitted_at_ms < until_ms)
    requests, cost, *tokens = (int(each) for each in connection.execute(query).one())
    return Summary(requests, Usage(*tokens), cost)


def history(connection: Connection, project: str, since_ms: int, now_ms: int) -> list[LedgerRow]:
    """Return what a project's keys used since `since_ms`, by time of admission, for its windows.

    Rows committed in the last ten minutes stand alone with their ids; older ones are summed by key and minute, at the
    latest admission of each.
    """
    named_since = now_ms - _NAMED_MS
    inside = and_(settlements.c.project == project, settlements.c.admitted_at_ms >= since_ms)
    recent = or_(settlements.c.admitted_at_ms >= named_since, settlements.c.recorded_at_ms >= named_since)
    named = connection.execute(
        select(
            settlements.c.key_id,
            settlements.c.admitted_at_ms,
            _WHOLE_INPUT,
            settlements.c.output_tokens,
            settlements.c.cost_micro,
            settlements.c.request_id,
            settlements.c.edge_session,
        ).where(inside, recent)
    )
    sums = connection.execute(
        select(
            settlements.c.key_id,
            func.max(settlements.c.admitted_at_ms),
            func.count(),
            func.sum(_WHOLE_INPUT),
            func.sum(settlements.c.output_tokens),
            func.sum(settlements.c.cost_micro),
        )
        .where(inside, ~recent)
        .group_by(settlements.c.key_id, settlements.c.admitted_at_ms // _MINUTE_MS)
    )
    return [
        LedgerRow(key_id, at_ms, 1, whole_input, output, cost, request_id, session)
        for key_id, at_ms, whole_input, output, cost, request_id, session in named
    ] + [
        LedgerRow(key_id, at_ms, count, int(whole_input), int(output), int(cost))
        for key_id, at_ms, count, whole_input, output, cost in sums
    ]


def _with_attempts(connection: Connection, rows: Sequence[Any]) -> list[UsageRow]:
    tries: defaultdict[str, list[AttemptRow]] = defaultdict(list)
    ids = [row.request_id for row in rows]
    for start in range(0, len(ids), _ATTEMPT_PAGE):
        found = connection.execute(
            select(attempts)
            .where(attempts.c.request_id.in_(ids[start : start + _ATTEMPT_PAGE]))
            .order_by(attempts.c.request_id, attempts.c.index)
        )
        for row in found.mappings():
            tries[row["request_id"]].append(_attempt(row))
    return [_usage_row(row, tries[row.request_id]) for row in rows]


def _usage_row(row: Any, tries: Sequence[AttemptRow]) -> UsageRow:
    facts: tuple[Any, ...] = (*row[:14], Usage(*row[14:]), tuple(tries))
    return UsageRow(*facts)


def _attempt(row: Any) -> AttemptRow:
    return AttemptRow(
        index=row["index"],
        account=row["account"],
        cls=row["class"],
        status=row["status"],
        reported=row["reported"],
        estimated=row["estimated"],
        cost_micro=row["cost_micro"],
        upstream_request_id=row["upstream_request_id"],
        upstream_model=row["upstream_model"],
        started_at_ms=row["started_at_ms"],
        first_byte_ms=row["first_byte_ms"],
        duration_ms=row["duration_ms"],
        usage=Usage(*(row[name] for name in Usage.__struct_fields__)),
    )


def _parse_token(token: str) -> tuple[int, str]:
    at_ms, _, request_id = token.partition(".")
    if not at_ms.isascii() or not at_ms.isdigit() or len(at_ms) > 16 or not request_id or "\0" in request_id:
        raise Invalid("the page token is not one that a list gave")
    return int(at_ms), request_id
