"""Ended requests that one call is to settle: of each its row, written when it ended, and what it still holds.

A request that awaits its settlement is bytes and an entry in each of two dicts: nothing that the cycle collector would
look at, however many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_edge.records import Admitted


class Batch:
    """Rows of a `SettleRequest`, and in the same order what the requests hold, by their ids."""

    __slots__ = ("held", "rows", "since_ms")

    def __init__(self, since_ms: int) -> None:
        self.rows: dict[str, bytes] = {}
        self.held: dict[str, Admitted | None] = {}
        self.since_ms = since_ms
        """When the first of them ended, unix ms."""

    def add(self, request_id: str, row: bytes, admitted: Admitted | None) -> None:
        """Take in a request."""
        self.rows[request_id] = row
        self.held[request_id] = admitted

    def request(self, head: bytes) -> bytes:
        """Return the call's request, serialized; `head` is what it says of the sender."""
        return head + b"".join(self.rows.values())

    def take_in(self, other: Batch) -> None:
        """Take over all that another batch has."""
        self.rows.update(other.rows)
        self.held.update(other.held)
        self.since_ms = min(self.since_ms, other.since_ms)

    def split_off(self, keep: int) -> Batch:
        """Keep the first `keep` requests; return a batch of the others."""
        rest = Batch(self.since_ms)
        for name in list(self.held)[keep:]:
            rest.add(name, self.rows[name], self.take_out(name))
        return rest

    def take_out(self, request_id: str) -> Admitted | None:
        """Let go of a request that is settled; return what it holds, None for one that is not here."""
        self.rows.pop(request_id, None)
        return self.held.pop(request_id, None)
