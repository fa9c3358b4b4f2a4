"""Who is next among those who wait: bounded, fair by project in what requests cost, each with a deadline.

Deficit round robin. Within a group, which is all that wait for one kind of capacity, projects take turns. A project
whose request is served goes into deficit by what that costs, and has no turn until rounds, each of which gives every
project the same, have worked it off. Served first and paid afterwards, a large request need not outlive its deadline
saving. Rounds are not turned but computed: a group's level is what each project has been given so far, and a project is
next when the level reaches the one at which its deficit is gone. So over any time two projects that always wait are
served amounts that differ by the largest request of each at most. A group has lines, one for each thing within it that
somebody waits for: who cannot be served now holds up his own line only. Pure: `now` is the caller's seconds.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Container, Hashable

Ticket = TypeVar("Ticket")

_REMEMBERED: Final = 1024
_SPARE: Final = 64


class Line(NamedTuple):
    """What somebody waits for, and the group in which projects are served alike."""

    group: Hashable
    what: Hashable = ""


class Place(Generic[Ticket]):
    """One request that waits. `cost`: what it takes of whatever is scarce, at least 1 (tokens)."""

    __slots__ = ("cost", "deadline", "line", "project", "ticket", "waiting")

    def __init__(self, line: Line, project: str, cost: float, deadline: float, ticket: Ticket) -> None:
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
    """One project in one line, first come first served. `joined`: the group's level when it began to wait."""

    __slots__ = ("joined", "places", "project", "turn")

    def __init__(self, project: str) -> None:
        self.project = project
        self.places: OrderedDict[Place[Ticket], None] = OrderedDict()
        self.joined = 0.0
        self.turn: _Turn[Ticket] | None = None

    def first(self) -> Place[Ticket]:
        return next(iter(self.places))


class _Turn(Generic[Ticket]):
    """When a project is next in a line: at `level`, or later; among equals in the order of `number`."""

    __slots__ = ("flow", "level", "number")

    def __init__(self, level: float, number: int, flow: _Flow[Ticket]) -> None:
        self.level = level
        self.number = number
        self.flow = flow

    def __lt__(self, other: _Turn[Ticket]) -> bool:
        return (self.level, self.number) < (other.level, other.number)


class _Group(Generic[Ticket]):
    """All that wait for one kind of capacity. `level`: how much each project has been given in all rounds so far."""

    __slots__ = ("clear_at", "level", "lines", "number", "waiting")

    def __init__(self) -> None:
        self.lines: dict[Line, dict[str, _Flow[Ticket]]] = {}
        self.clear_at: dict[str, float] = {}
        """By project: the level at which its deficit is worked off."""
        self.level = 0.0
        self.number = 0
        self.waiting = 0


class FairQueue(Generic[Ticket]):
    """At most `places` wait, of one project at most `per_project`. O(1), but for heaps of projects and deadlines."""

    def __init__(self, places: int, per_project: int) -> None:
        self._most = places
        self._most_of_one = per_project
        self._groups: OrderedDict[Hashable, _Group[Ticket]] = OrderedDict()
        self._turns: dict[Line, list[_Turn[Ticket]]] = {}
        self._projects: dict[str, OrderedDict[Place[Ticket], None]] = {}
        self._deadlines: list[Place[Ticket]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def groups(self) -> list[Hashable]:
        """Return the groups in which somebody waits, the one that was served longest ago first."""
        return list(self._groups)

    def lines(self) -> list[Line]:
        """Return the lines in which somebody waits."""
        return list(self._turns)

    def busy(self, line: Line) -> bool:
        """Tell whether somebody waits in a line."""
        return line in self._turns

    def crowded(self, group: Hashable) -> bool:
        """Tell whether somebody waits in a group."""
        return group in self._groups

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
        group = self._groups.get(place.line.group)
        if group is None:
            group = self._groups[place.line.group] = _Group()
        flows = group.lines.setdefault(place.line, {})
        flow = flows.get(place.project)
        if flow is None:
            flow = flows[place.project] = _Flow(place.project)
            flow.joined = group.level
        flow.places[place] = None
        group.waiting += 1
        if flow.turn is None:
            self._queue(group, place.line, flow)
        self._projects.setdefault(place.project, OrderedDict())[place] = None
        place.waiting = True
        self._count += 1
        heappush(self._deadlines, place)
        return loser

    def head(self, group: Hashable, without: Container[Line] = ()) -> Place[Ticket] | None:
        """Return the fairest next of a group: the same again until it leaves, or a project with less joins.

        Those in lines of `without` are passed over.
        """
        found = self._groups.get(group)
        if found is None:
            return None
        best: _Turn[Ticket] | None = None
        for line in found.lines:
            if line in without:
                continue
            turn = self._first(found, line)
            if best is None or turn < best:
                best = turn
        return best.flow.first() if best is not None else None

    def served(self, place: Place[Ticket]) -> None:
        """Take out a request that got what it waited for, at its project's expense."""
        group = self._groups[place.line.group]
        flow = group.lines[place.line][place.project]
        begun = max(flow.joined, group.clear_at.get(place.project, 0.0))
        group.level = max(group.level, begun)
        group.clear_at[place.project] = begun + place.cost
        if len(group.clear_at) > _REMEMBERED:
            group.clear_at = {name: level for name, level in group.clear_at.items() if level > group.level}
        self._groups.move_to_end(place.line.group)
        self._take_out(place)

    def leave(self, place: Place[Ticket]) -> None:
        """Take out a request that waits no longer; nothing when it does not."""
        if place.waiting:
            self._take_out(place)

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

    def _first(self, group: _Group[Ticket], line: Line) -> _Turn[Ticket]:
        """Return the first turn of a line. Turns that are over, or came too early by now, are mended on the way."""
        turns = self._turns[line]
        while True:
            turn = turns[0]
            flow = turn.flow
            if flow.turn is not turn:
                heappop(turns)
                continue
            level = max(flow.joined, group.clear_at.get(flow.project, 0.0))
            if level <= turn.level:
                return turn
            heappop(turns)
            self._queue(group, line, flow)

    def _queue(self, group: _Group[Ticket], line: Line, flow: _Flow[Ticket]) -> None:
        group.number += 1
        flow.turn = _Turn(max(flow.joined, group.clear_at.get(flow.project, 0.0)), group.number, flow)
        turns = self._turns.setdefault(line, [])
        heappush(turns, flow.turn)
        if len(turns) > 2 * len(group.lines[line]) + _SPARE:
            turns[:] = [turn for turn in turns if turn.flow.turn is turn]
            heapify(turns)

    def _take_out(self, place: Place[Ticket]) -> None:
        place.waiting = False
        self._count -= 1
        line = place.line
        group = self._groups[line.group]
        flows = group.lines[line]
        flow = flows[place.project]
        del flow.places[place]
        group.waiting -= 1
        if not flow.places:
            flow.turn = None
            del flows[place.project]
        if not flows:
            del group.lines[line]
            del self._turns[line]
        if not group.waiting:
            # With nobody waiting there is enough for all: deficits are forgotten.
            del self._groups[line.group]
        mine = self._projects[place.project]
        del mine[place]
        if not mine:
            del self._projects[place.project]
        if len(self._deadlines) > 2 * self._count + _SPARE:
            self._deadlines = [other for other in self._deadlines if other.waiting]
            heapify(self._deadlines)
