"""Who is next among those who wait: bounded, fair by project in what requests cost, each with a deadline.

Deficit round robin. A line is for requests that wait for the same thing, and its projects take turns. A project whose
request is served goes into deficit by what that costs, and has no turn until rounds, each of which gives every project
the same, have worked it off. Served first and paid afterwards, a large request need not outlive its deadline saving.
Rounds are not turned but computed: a line's level is what each project has been given so far, and a project is next
when the level reaches the one at which its deficit is gone. So over any time two projects that always wait are served
amounts that differ by the largest request of each at most. Pure: `now` is the caller's seconds.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

Ticket = TypeVar("Ticket")

_REMEMBERED: Final = 1024
_SPARE: Final = 64


class Place(Generic[Ticket]):
    """One request that waits. `cost`: what it takes of whatever is scarce, at least 1 (tokens)."""

    __slots__ = ("cost", "deadline", "line", "project", "ticket", "waiting")

    def __init__(self, line: Hashable, project: str, cost: float, deadline: float, ticket: Ticket) -> None:
        self.line = line
        self.project = project
        self.cost = max(cost, 1.0)
        self.deadline = deadline
        self.ticket = ticket
        self.waiting = False

    def __lt__(self, other: Place[Ticket]) -> bool:
        """Order by deadline."""
        return self.deadline < other.deadline


class _Flow(Generic[Ticket]):
    """One project in one line, first come first served. `clear_at`: the level at which its deficit is worked off."""

    __slots__ = ("clear_at", "places", "turn")

    def __init__(self) -> None:
        self.places: OrderedDict[Place[Ticket], None] = OrderedDict()
        self.clear_at = 0.0
        self.turn: _Turn[Ticket] | None = None

    def first(self) -> Place[Ticket]:
        return next(iter(self.places))


class _Turn(Generic[Ticket]):
    """When a project that waits is next: at `level`, and among equals in the order of `number`."""

    __slots__ = ("flow", "level", "number")

    def __init__(self, level: float, number: int, flow: _Flow[Ticket]) -> None:
        self.level = level
        self.number = number
        self.flow = flow

    def __lt__(self, other: _Turn[Ticket]) -> bool:
        return (self.level, self.number) < (other.level, other.number)

    def stands(self) -> bool:
        return self.flow.turn is self


class _Line(Generic[Ticket]):
    """The projects that wait for one thing. `level`: how much each of them has been given in all rounds so far."""

    __slots__ = ("flows", "level", "number", "turns", "waiting")

    def __init__(self) -> None:
        self.flows: dict[str, _Flow[Ticket]] = {}
        self.turns: list[_Turn[Ticket]] = []
        self.level = 0.0
        self.number = 0
        self.waiting = 0

    def add(self, place: Place[Ticket]) -> None:
        flow = self.flows.get(place.project)
        if flow is None:
            flow = self.flows[place.project] = _Flow()
        flow.places[place] = None
        self.waiting += 1
        if flow.turn is None:
            self._queue(flow)

    def serve(self, place: Place[Ticket]) -> None:
        """Charge its project, whose next one waits until all others have been given as much."""
        flow = self.flows[place.project]
        begun = max(flow.clear_at, self.level) if flow.turn is None else flow.turn.level
        self.level = max(self.level, begun)
        flow.clear_at = begun + place.cost
        flow.turn = None
        self.remove(place)
        if flow.places:
            self._queue(flow)

    def remove(self, place: Place[Ticket]) -> None:
        flow = self.flows[place.project]
        del flow.places[place]
        self.waiting -= 1
        if flow.places:
            return
        flow.turn = None
        # A deficit is remembered while others wait here.
        if flow.clear_at <= self.level:
            del self.flows[place.project]
        elif len(self.flows) > _REMEMBERED:
            self.flows = {name: kept for name, kept in self.flows.items() if kept.places or kept.clear_at > self.level}

    def first(self) -> Place[Ticket]:
        turns = self.turns
        while not turns[0].stands():
            heappop(turns)
        return turns[0].flow.first()

    def _queue(self, flow: _Flow[Ticket]) -> None:
        self.number += 1
        flow.turn = _Turn(max(flow.clear_at, self.level), self.number, flow)
        heappush(self.turns, flow.turn)
        if len(self.turns) > 2 * len(self.flows) + _SPARE:
            self.turns = [turn for turn in self.turns if turn.stands()]
            heapify(self.turns)


class FairQueue(Generic[Ticket]):
    """At most `places` wait, of one project at most `per_project`. O(1), but for heaps of projects and deadlines."""

    def __init__(self, places: int, per_project: int) -> None:
        self._most = places
        self._most_of_one = per_project
        self._lines: OrderedDict[Hashable, _Line[Ticket]] = OrderedDict()
        self._projects: dict[str, OrderedDict[Place[Ticket], None]] = {}
        self._deadlines: list[Place[Ticket]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def lines(self) -> list[Hashable]:
        """Return the lines in which somebody waits, the one that was served longest ago first."""
        return list(self._lines)

    def busy(self, line: Hashable) -> bool:
        """Tell whether somebody waits in a line."""
        return line in self._lines

    def waiting(self, project: str) -> int:
        """Return how many requests of a project wait."""
        return len(self._projects.get(project, ()))

    def add(self, place: Place[Ticket]) -> Place[Ticket] | None:
        """Put a request in; returns the one for which there is no room then: this one, or another taken out for it.

        When all places are taken, the project that has most of them gives its last one to a project that has fewer.
        """
        mine = self.waiting(place.project)
        loser: Place[Ticket] | None = None
        if mine >= self._most_of_one:
            return place
        if self._count >= self._most:
            most = max(self._projects.values(), key=len, default=None)
            if most is None or len(most) <= mine + 1:
                return place
            loser = next(reversed(most))
            self.leave(loser)
        line = self._lines.get(place.line)
        if line is None:
            line = self._lines[place.line] = _Line()
        line.add(place)
        self._projects.setdefault(place.project, OrderedDict())[place] = None
        place.waiting = True
        self._count += 1
        heappush(self._deadlines, place)
        return loser

    def head(self, line: Hashable) -> Place[Ticket] | None:
        """Return the fairest next of a line: the same again until it leaves, or a project with less joins."""
        found = self._lines.get(line)
        return found.first() if found is not None else None

    def served(self, place: Place[Ticket]) -> None:
        """Take out a request that got what it waited for, at its project's expense."""
        self._lines[place.line].serve(place)
        self._lines.move_to_end(place.line)
        self._forget(place)

    def leave(self, place: Place[Ticket]) -> None:
        """Take out a request that waits no longer; nothing when it does not."""
        if place.waiting:
            self._lines[place.line].remove(place)
            self._forget(place)

    def expired(self, now: float) -> list[Place[Ticket]]:
        """Take out and return those whose deadline has come, earliest first."""
        gone: list[Place[Ticket]] = []
        while self.next_deadline() <= now:
            place = heappop(self._deadlines)
            self.leave(place)
            gone.append(place)
        return gone

    def next_deadline(self) -> float:
        """Return the earliest deadline; inf when nobody waits."""
        deadlines = self._deadlines
        while deadlines and not deadlines[0].waiting:
            heappop(deadlines)
        return deadlines[0].deadline if deadlines else math.inf

    def _forget(self, place: Place[Ticket]) -> None:
        place.waiting = False
        self._count -= 1
        if not self._lines[place.line].waiting:
            del self._lines[place.line]
        mine = self._projects[place.project]
        del mine[place]
        if not mine:
            del self._projects[place.project]
        if len(self._deadlines) > 2 * self._count + _SPARE:
            self._deadlines = [other for other in self._deadlines if other.waiting]
            heapify(self._deadlines)
