"""Ended requests as auth reads them.

Most of what a settlement says is the same for all requests of one key to one model, and most of what it says of an
attempt for all that ended like it. Filling in a message field by field is what it costs: so those fields come from
patterns, of which there is one for each such group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.auth.v1 import auth_pb2
from penstock_chassis import logs
from penstock_edge.records import Closed

if TYPE_CHECKING:
    from penstock_edge.records import AttemptRecord, Opened

_log = logs.get(__name__)

_STATES: Final = {
    "complete": auth_pb2.DELIVERY_STATE_COMPLETE,
    "client_left": auth_pb2.DELIVERY_STATE_CLIENT_LEFT,
    "error_before_output": auth_pb2.DELIVERY_STATE_ERROR_BEFORE_OUTPUT,
    "error_after_output": auth_pb2.DELIVERY_STATE_ERROR_AFTER_OUTPUT,
    "abandoned": auth_pb2.DELIVERY_STATE_ABANDONED,
}
_PATTERNS_AT_MOST: Final = 1024

Group = tuple[str, str, str, str, str, str, int, bytes, bool]
AttemptGroup = tuple[int, str, str, int, str, bool, bool]


class SettlementMessages:
    """Writes settlements of one sender."""

    def __init__(self) -> None:
        self._patterns: dict[Group, auth_pb2.Settlement] = {}
        self._attempts: dict[AttemptGroup, auth_pb2.Attempt] = {}

    def add(self, request: auth_pb2.SettleRequest, session_id: str, opened: Opened, closed: Closed) -> None:
        """Add a request to those to be settled: as `abandoned` when its numbers are beyond what a message carries."""
        row = request.settlements.add()
        try:
            self._fill(row, session_id, opened, closed)
        except (ValueError, TypeError, UnicodeError):
            _log.exception("settlement_unsendable", request_id=opened.request_id)
            row.Clear()
            self._fill(row, session_id, opened, abandoned(opened))

    def _fill(self, row: auth_pb2.Settlement, session_id: str, opened: Opened, closed: Closed) -> None:
        row.CopyFrom(self._pattern(session_id, opened))
        row.request_id = opened.request_id
        row.admitted_at_ms = opened.admitted_at_ms
        row.started_at_ms = opened.started_at_ms
        row.ended_at_ms = closed.ended_at_ms
        row.state = _STATES[closed.state]
        row.client_status = closed.client_status
        row.delivered = closed.delivered
        if closed.estimated:
            row.estimated = True
        for attempt in closed.attempts:
            new = row.attempts.add()
            new.CopyFrom(self._attempt_pattern(attempt))
            _fill_attempt(new, attempt)

    def _pattern(self, session_id: str, opened: Opened) -> auth_pb2.Settlement:
        """Return a settlement with what is the same for all requests like this one."""
        group: Group = (
            session_id,
            opened.key_id,
            opened.project,
            opened.model,
            opened.dialect,
            opened.price_digest,
            opened.price_multiplier_ppm,
            opened.key_sha256,
            opened.streamed,
        )
        pattern = self._patterns.get(group)
        if pattern is None:
            pattern = auth_pb2.Settlement(
                edge_session=session_id,
                key_id=opened.key_id,
                project=opened.project,
                model=opened.model,
                dialect=opened.dialect,
                price_digest=opened.price_digest,
                price_multiplier_ppm=opened.price_multiplier_ppm,
                key_sha256=opened.key_sha256,
                streamed=opened.streamed,
            )
            if len(self._patterns) >= _PATTERNS_AT_MOST:
                self._patterns.clear()
            self._patterns[group] = pattern
        return pattern

    def _attempt_pattern(self, a: AttemptRecord) -> auth_pb2.Attempt:
        """Return an attempt with what is the same for all that ended like this one."""
        group: AttemptGroup = (a.index, a.account, a.cls, a.status, a.upstream_model, a.reported, a.estimated)
        pattern = self._attempts.get(group)
        if pattern is None:
            pattern = auth_pb2.Attempt(
                index=a.index,
                account=a.account,
                status=a.status,
                upstream_model=a.upstream_model,
                reported=a.reported,
                estimated=a.estimated,
            )
            setattr(pattern, "class", a.cls)
            if len(self._attempts) >= _PATTERNS_AT_MOST:
                self._attempts.clear()
            self._attempts[group] = pattern
        return pattern


def abandoned(opened: Opened) -> Closed:
    """Return how a request ends whose edge died: nobody knows what it used, so it is not charged."""
    return Closed(request_id=opened.request_id, state="abandoned", ended_at_ms=opened.started_at_ms)


def _fill_attempt(row: auth_pb2.Attempt, a: AttemptRecord) -> None:
    """Fill in what is an attempt's own; what is nothing need not be written."""
    row.upstream_request_id = a.upstream_request_id
    row.started_at_ms = a.started_at_ms
    row.first_byte_ms = a.first_byte_ms
    row.duration_ms = a.duration_ms
    used, usage = a.usage, row.usage
    if used.input_tokens:
        usage.input_tokens = used.input_tokens
    if used.output_tokens:
        usage.output_tokens = used.output_tokens
    if used.cache_read_input_tokens:
        usage.cache_read_input_tokens = used.cache_read_input_tokens
    if used.cache_write_5m_input_tokens:
        usage.cache_write_5m_input_tokens = used.cache_write_5m_input_tokens
    if used.cache_write_1h_input_tokens:
        usage.cache_write_1h_input_tokens = used.cache_write_1h_input_tokens
