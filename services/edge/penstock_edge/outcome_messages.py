"""Outcomes as the router reads them. What is the same for many comes from a pattern, as in `settlement_messages`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.router.v1 import router_pb2
from penstock_edge.patterns import Patterns
from penstock_edge.varints import delimited, filled, tag, text, varint

if TYPE_CHECKING:
    from penstock_routing import Outcome
    from penstock_routing.accounts import Hints

_ROW: Final = tag(router_pb2.ReportRequest, "outcomes")
_REQUEST_ID: Final = tag(router_pb2.Outcome, "request_id")
_RETRY_AFTER: Final = tag(router_pb2.Outcome, "retry_after_ms")
_SENT_AGO: Final = tag(router_pb2.Outcome, "sent_ago_ms")
_ENDED_AGO: Final = tag(router_pb2.Outcome, "ended_ago_ms")
_DURATION: Final = tag(router_pb2.Outcome, "duration_ms")
_TOKENS: Final = tag(router_pb2.Outcome, "tokens")
_HINTS: Final = tag(router_pb2.Outcome, "hints")
_REQUESTS_LIMIT: Final = tag(router_pb2.Hints, "requests_limit")
_REQUESTS_REMAINING: Final = tag(router_pb2.Hints, "requests_remaining")
_REQUESTS_RESET: Final = tag(router_pb2.Hints, "requests_reset_ms")
_TOKENS_LIMIT: Final = tag(router_pb2.Hints, "tokens_limit")
_TOKENS_REMAINING: Final = tag(router_pb2.Hints, "tokens_remaining")
_TOKENS_RESET: Final = tag(router_pb2.Hints, "tokens_reset_ms")


class OutcomeMessages:
    """Writes outcomes."""

    def __init__(self) -> None:
        self._patterns = Patterns()

    def row(self, o: Outcome, now: float) -> bytes:
        """Return an outcome's row of a ReportRequest that goes out `now`."""
        row = b"%b%b%b%b%b%b%b%b%b%b%b" % (
            self._pattern(o),
            text(_REQUEST_ID, o.request_id),
            _SENT_AGO,
            _ms(now - o.sent_at),
            _ENDED_AGO,
            _ms(now - o.ended_at),
            _DURATION,
            _ms(o.ended_at - o.sent_at),
            _TOKENS,
            varint(o.tokens),
            b"" if o.retry_after is None and o.hints is None else _said(o.retry_after, o.hints),
        )
        return delimited(_ROW, row)

    def _pattern(self, o: Outcome) -> bytes:
        """Return what is the same for all like this one."""
        group = (o.project, o.account, o.model, o.operation, o.cls, o.status, o.first_byte, o.trial)
        pattern = self._patterns.get(group)
        return self._patterns.keep(group, _alike(o)) if pattern is None else pattern


def _ms(seconds: float) -> bytes:
    return varint(max(0, int(seconds * 1000)))


def _alike(o: Outcome) -> router_pb2.Outcome:
    outcome = router_pb2.Outcome(
        project=o.project,
        account=o.account,
        model=o.model,
        operation=o.operation,
        status=o.status,
        retry_after_ms=-1,
        first_byte_ms=0 if o.first_byte else -1,
        trial=o.trial,
    )
    setattr(outcome, "class", o.cls)
    return outcome


def _said(retry_after: float | None, hints: Hints | None) -> bytes:
    """Return what the upstream said of when it will take more; of a field that comes again, the last value counts."""
    said = b"" if retry_after is None else _RETRY_AFTER + varint(int(retry_after * 1000))
    return said if hints is None else said + delimited(_HINTS, _figures(hints))


def _figures(hints: Hints) -> bytes:
    return b"%b%b%b%b%b%b" % (
        filled(_REQUESTS_LIMIT, hints.requests_limit),
        filled(_REQUESTS_REMAINING, hints.requests_remaining),
        filled(_REQUESTS_RESET, hints.requests_reset_ms),
        filled(_TOKENS_LIMIT, hints.tokens_limit),
        filled(_TOKENS_REMAINING, hints.tokens_remaining),
        filled(_TOKENS_RESET, hints.tokens_reset_ms),
    )
