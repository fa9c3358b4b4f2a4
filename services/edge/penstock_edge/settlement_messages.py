"""Ended requests as auth reads them.

Most of what a settlement says is the same for all requests of one key to one model, and most of what it says of an
attempt for all that ended like it. Those fields come from patterns; a request's own are written behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import astuple

from penstock.auth.v1 import auth_pb2
from penstock_chassis import logs
from penstock_edge.patterns import Patterns
from penstock_edge.records import Closed
from penstock_edge.varints import Moments, delimited, filled, tag, text, varint

if TYPE_CHECKING:
    from penstock_edge.records import AttemptRecord, Opened, Usage

_log = logs.get(__name__)

_STATES: Final = {
    "complete": auth_pb2.DELIVERY_STATE_COMPLETE,
    "client_left": auth_pb2.DELIVERY_STATE_CLIENT_LEFT,
    "error_before_output": auth_pb2.DELIVERY_STATE_ERROR_BEFORE_OUTPUT,
    "error_after_output": auth_pb2.DELIVERY_STATE_ERROR_AFTER_OUTPUT,
    "abandoned": auth_pb2.DELIVERY_STATE_ABANDONED,
}

_ROW: Final = tag(auth_pb2.SettleRequest, "settlements")
_REQUEST_ID: Final = tag(auth_pb2.Settlement, "request_id")
_ADMITTED_AT: Final = tag(auth_pb2.Settlement, "admitted_at_ms")
_STARTED_AT: Final = tag(auth_pb2.Settlement, "started_at_ms")
_ENDED_AT: Final = tag(auth_pb2.Settlement, "ended_at_ms")
_ATTEMPT: Final = tag(auth_pb2.Settlement, "attempts")
_UPSTREAM_ID: Final = tag(auth_pb2.Attempt, "upstream_request_id")
_SENT_AT: Final = tag(auth_pb2.Attempt, "started_at_ms")
_FIRST_BYTE: Final = tag(auth_pb2.Attempt, "first_byte_ms")
_DURATION: Final = tag(auth_pb2.Attempt, "duration_ms")
_USAGE: Final = tag(auth_pb2.Attempt, "usage")
_INPUT: Final = tag(auth_pb2.Usage, "input_tokens")
_OUTPUT: Final = tag(auth_pb2.Usage, "output_tokens")
_CACHE_READ: Final = tag(auth_pb2.Usage, "cache_read_input_tokens")
_CACHE_WRITE_5M: Final = tag(auth_pb2.Usage, "cache_write_5m_input_tokens")
_CACHE_WRITE_1H: Final = tag(auth_pb2.Usage, "cache_write_1h_input_tokens")


class SettlementMessages:
    """Writes settlements."""

    def __init__(self) -> None:
        self._patterns = Patterns()
        self._attempts = Patterns()
        self._moments = Moments()

    def row(self, session_id: str, opened: Opened, closed: Closed) -> bytes:
        """Return a request's row of a SettleRequest, as `abandoned` if its numbers are beyond what one carries."""
        try:
            return self._row(session_id, opened, closed)
        except (ValueError, TypeError, UnicodeError):
            _log.exception("settlement_unsendable", request_id=opened.request_id)
            return self._row(session_id, opened, abandoned(opened))

    # All fields of a record are taken at once: to look each up by its name would cost as much as all the rest.

    def _row(self, session_id: str, opened: Opened, closed: Closed) -> bytes:
        name, key, digest, project, model, dialect, price, ppm, admitted, started, streamed, _, _, _ = astuple(opened)
        _, state, estimated, delivered, attempts, ended, status = astuple(closed)
        group = (
            session_id,
            key,
            digest,
            project,
            model,
            dialect,
            price,
            ppm,
            streamed,
            state,
            estimated,
            delivered,
            status,
        )
        pattern = self._patterns.get(group)
        if pattern is None:
            pattern = self._patterns.keep(group, _alike(session_id, opened, closed))
        moments = self._moments
        row = b"%b%b%b%b%b%b%b%b%b" % (
            pattern,
            text(_REQUEST_ID, name),
            _ADMITTED_AT,
            moments.varint(admitted),
            _STARTED_AT,
            moments.varint(started),
            _ENDED_AT,
            moments.varint(ended),
            self._tried(attempts),
        )
        return delimited(_ROW, row)

    def _tried(self, attempts: list[AttemptRecord]) -> bytes:
        rows = b""
        for attempt in attempts:
            rows += delimited(_ATTEMPT, self._attempt(attempt))
        return rows

    def _attempt(self, attempt: AttemptRecord) -> bytes:
        index, account, cls, status, usage, reported, estimated, name, began, first, took, model = astuple(attempt)
        group = (index, account, cls, status, model, reported, estimated)
        pattern = self._attempts.get(group)
        if pattern is None:
            pattern = self._attempts.keep(group, _alike_attempt(attempt))
        return b"%b%b%b%b%b%b%b%b%b" % (
            pattern,
            text(_UPSTREAM_ID, name) if name else b"",
            _SENT_AT,
            self._moments.varint(began),
            _FIRST_BYTE,
            varint(first),
            _DURATION,
            varint(took),
            _used(usage),
        )


def abandoned(opened: Opened) -> Closed:
    """Return how a request ends whose edge died: nobody knows what it used, so it is not charged."""
    return Closed(request_id=opened.request_id, state="abandoned", ended_at_ms=opened.started_at_ms)


def _alike(session_id: str, opened: Opened, closed: Closed) -> auth_pb2.Settlement:
    return auth_pb2.Settlement(
        edge_session=session_id,
        key_id=opened.key_id,
        project=opened.project,
        model=opened.model,
        dialect=opened.dialect,
        price_digest=opened.price_digest,
        price_multiplier_ppm=opened.price_multiplier_ppm,
        key_sha256=opened.key_sha256,
        streamed=opened.streamed,
        state=_STATES[closed.state],
        estimated=closed.estimated,
        delivered=closed.delivered,
        client_status=closed.client_status,
    )


def _alike_attempt(a: AttemptRecord) -> auth_pb2.Attempt:
    attempt = auth_pb2.Attempt(
        index=a.index,
        account=a.account,
        status=a.status,
        upstream_model=a.upstream_model,
        reported=a.reported,
        estimated=a.estimated,
    )
    setattr(attempt, "class", a.cls)
    return attempt


def _used(usage: Usage) -> bytes:
    """Return an attempt's usage; nothing where nothing was used."""
    read, written, cached, kept_5m, kept_1h = astuple(usage)
    figures = b"%b%b%b%b%b" % (
        filled(_INPUT, read),
        filled(_OUTPUT, written),
        filled(_CACHE_READ, cached),
        filled(_CACHE_WRITE_5M, kept_5m),
        filled(_CACHE_WRITE_1H, kept_1h),
    )
    return delimited(_USAGE, figures) if figures else b""
