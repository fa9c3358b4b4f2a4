"""Ended requests that one call is to settle: the call's message, filled in as they end, and what each still holds.

A request that awaits its settlement is a row of a message and an entry of a dict: nothing that the cycle collector
would look at, however many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.auth.v1 import auth_pb2

if TYPE_CHECKING:
    from collections.abc import Container

    from penstock_edge.records import Admitted


class Batch:
    """Rows of `request`, and in the same order what the requests hold, by their ids."""

    __slots__ = ("held", "request", "since_ms")

    def __init__(self, session_id: str, since_ms: int) -> None:
        self.request = auth_pb2.SettleRequest(edge_session=session_id)
        self.held: dict[str, Admitted | None] = {}
        self.since_ms = since_ms
        """When the first of them ended, unix ms."""

    def take_in(self, other: Batch) -> None:
        """Take over all that another batch has."""
        self.request.settlements.extend(other.request.settlements)
        self.held.update(other.held)
        self.since_ms = min(self.since_ms, other.since_ms)

    def split_off(self, keep: int) -> Batch:
        """Keep the first `keep` requests; return a batch of the others."""
        rest = self._without(frozenset(list(self.held)[:keep]))
        self.take_out(rest.held)
        return rest

    def take_out(self, final: Container[str]) -> None:
        """Let go of the requests that are `final`."""
        left = self._without(final)
        self.request, self.held = left.request, left.held

    def _without(self, these: Container[str]) -> Batch:
        others = Batch(self.request.edge_session, self.since_ms)
        others.held = {name: admitted for name, admitted in self.held.items() if name not in these}
        if others.held:
            others.request.settlements.extend(row for row in self.request.settlements if row.request_id in others.held)
        return others
