"""Outcomes as the router reads them. What is the same for many comes from a pattern, as in `settlement_messages`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.router.v1 import router_pb2

if TYPE_CHECKING:
    from penstock_routing import Outcome

_PATTERNS_AT_MOST: Final = 1024

Group = tuple[str, str, str, str, str, int]


class OutcomeMessages:
    """Fills in outcomes."""

    def __init__(self) -> None:
        self._patterns: dict[Group, router_pb2.Outcome] = {}

    def fill(self, row: router_pb2.Outcome, o: Outcome, now: float) -> None:
        """Fill in an outcome in its place: a message that is made apart is copied."""
        row.CopyFrom(self._pattern(o))
        row.request_id = o.request_id
        if o.retry_after is not None:
            row.retry_after_ms = int(o.retry_after * 1000)
        row.sent_ago_ms = max(0, int((now - o.sent_at) * 1000))
        row.ended_ago_ms = max(0, int((now - o.ended_at) * 1000))
        row.duration_ms = max(0, int((o.ended_at - o.sent_at) * 1000))
        row.tokens = o.tokens
        if not o.first_byte:
            row.first_byte_ms = -1
        if o.trial:
            row.trial = True
        hints = o.hints
        if hints is not None:
            row.hints.requests_limit = hints.requests_limit
            row.hints.requests_remaining = hints.requests_remaining
            row.hints.requests_reset_ms = hints.requests_reset_ms
            row.hints.tokens_limit = hints.tokens_limit
            row.hints.tokens_remaining = hints.tokens_remaining
            row.hints.tokens_reset_ms = hints.tokens_reset_ms

    def _pattern(self, o: Outcome) -> router_pb2.Outcome:
        """Return an outcome with what is the same for all like this one."""
        group: Group = (o.project, o.account, o.model, o.operation, o.cls, o.status)
        pattern = self._patterns.get(group)
        if pattern is None:
            pattern = router_pb2.Outcome(
                project=o.project,
                account=o.account,
                model=o.model,
                operation=o.operation,
                status=o.status,
                retry_after_ms=-1,
            )
            setattr(pattern, "class", o.cls)
            if len(self._patterns) >= _PATTERNS_AT_MOST:
                self._patterns.clear()
            self._patterns[group] = pattern
        return pattern
