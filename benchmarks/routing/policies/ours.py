"""Penstock: several edges and a router, made of the very library that the processes are made of."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from benchmarks.routing.policies.our_edge import SimEdge
from benchmarks.routing.policies.our_router import WIRE_SECONDS, SimRouter, Timers
from benchmarks.routing.sight import Hedge, Refuse

from penstock_routing import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.routing.sight import AccountSight, Asked, Decision, Headers, Seen


class Ours:
    """A gateway of `edges` edge processes and one router, with the settings that an installation has by default."""

    name = "penstock"
    edge: type[SimEdge] = SimEdge

    def __init__(self, accounts: Sequence[AccountSight], rng: Random, wait_seconds: float, edges: int) -> None:
        policy = Policy()
        self._timers = Timers()
        names = [f"edge-{number}" for number in range(edges)]
        self._router = SimRouter(accounts, policy, self._timers, names)
        self._edges = [
            self.edge(name, accounts, policy, self._router, self._timers, Random(rng.random()), wait_seconds)
            for name in names
        ]
        self._router.watched_by(self._edges)
        self._where: dict[int, SimEdge] = {}

    def pick(self, asked: Asked, now: float) -> Decision:
        """Say where a new request goes."""
        edge = self._edges[asked.edge]
        decision = edge.arrives(asked, now)
        if not isinstance(decision, Refuse):
            self._where[asked.number] = edge
        return decision

    def begun(self, number: int, headers: Headers | None, now: float) -> None:
        """Note that its output has begun."""
        self._where[number].begun(number, headers, now)

    def finished(self, number: int, seen: Seen, now: float) -> Decision | None:
        """Note an attempt's end."""
        edge = self._where[number]
        decision = edge.finished(number, seen, now)
        if number not in edge.flights:
            del self._where[number]
        return decision

    def dropped(self, number: int, now: float) -> None:
        """Note that an attempt was given up."""
        self._where.pop(number).dropped(number, now)

    def tick(self, now: float) -> Iterable[tuple[int, Decision]]:
        """Turn timers, and say what became of those that waited."""
        self._timers.run(now)
        for edge in self._edges:
            decided, edge.decided = edge.decided, []
            for number, decision in decided:
                if isinstance(decision, Refuse):
                    del self._where[number]
                elif isinstance(decision, Hedge):
                    self._where[-number] = edge
                yield number, decision

    def due(self) -> float:
        """Return when the next timer is."""
        return self._timers.due()

    def probes(self) -> list[str]:
        """Return whom the router wants to probe."""
        wanted, self._router.to_probe = self._router.to_probe, []
        return wanted

    def probed(self, account: str, status: int, now: float) -> None:
        """Take a probe's answer."""
        self._timers.at(now + WIRE_SECONDS, self._router.probed, account, status)
