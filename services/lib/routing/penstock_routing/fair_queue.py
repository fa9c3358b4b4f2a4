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
from collections.abc import Hashable  # noqa: TC003 -- a compiled tuple looks it up
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Container

Ticket = TypeVar("Ticket")

_REMEMBERED: Final = 1024
_REMEMBERED_SECONDS: Final = 10.0
_PRESSED_SECONDS: Final = 10.0
_LATELY_SECONDS: Final = 20.0
_SUMMED_EVERY_SECONDS: Final = 0.25
_LIGHT: Final = 0.95
"""A project that has been given less than this part of what the one with most has been given is light."""
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

    def __hash__(self) -> int:
        """Return what no other place has: compiled, a class with an order would have no hash."""
        return id(self)


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


class _Shares:
    """What each project of a group has been given in the last seconds, older ones counting less and less."""

    __slots__ = ("_given", "_most", "_most_at")

    def __init__(self) -> None:
        self._given: dict[str, tuple[float, float]] = {}
        self._most = 0.0
        self._most_at = -math.inf

    def add(self, project: str, cost: float, now: float) -> None:
        self._given[project] = (self._of(project, now) + cost, now)

    def light(self, project: str, now: float) -> bool:
        if now - self._most_at >= _SUMMED_EVERY_SECONDS:
            self._most_at = now
            self._most = max((self._of(name, now) for name in self._given), default=0.0)
            if len(self._given) > _REMEMBERED:
                self._given = {
                    name: (given, at) for name, (given, at) in self._given.items() if now - at < _LATELY_SECONDS
                }
        return self._of(project, now) < _LIGHT * self._most

    def _of(self, project: str, now: float) -> float:
        given, at = self._given.get(project, (0.0, now))
        return given * math.exp((at - now) / _LATELY_SECONDS)


class _Group(Generic[Ticket]):
    """All that wait for one kind of capacity. `level`: how much each project has been given in all rounds so far."""

    __slots__ = ("clear_at", "level", "lines", "number", "pressed_at", "shares", "used_at", "waiting")

    def __init__(self) -> None:
        self.lines: dict[Line, dict[str, _Flow[Ticket]]] = {}
        self.clear_at: dict[str, float] = {}
        """By project: the level at which its deficit is worked off."""
        self.level = 0.0
        self.number = 0
        self.waiting = 0
        self.shares = _Shares()
        self.used_at = -math.inf
        self.pressed_at = -math.inf


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
        return [name for name, group in self._groups.items() if group.waiting]

    def lines(self) -> list[Line]:
        """Return the lines in which somebody waits."""
        return list(self._turns)

    def busy(self, line: Line) -> bool:
        """Tell whether somebody waits in a line."""
        return line in self._turns

    def crowded(self, group: Hashable, now: float) -> bool:
        """Tell whether somebody waits in a group, or had to a moment ago."""
        found = self._groups.get(group)
        return found is not None and (found.waiting > 0 or now - found.pressed_at < _PRESSED_SECONDS)

    def pressed(self, place: Place[Ticket], now: float) -> None:
        """Note that one who waits was refused."""
        self._groups[place.line.group].pressed_at = now

    def light(self, place: Place[Ticket], now: float) -> bool:
        """Tell whether the project of one who waits has lately been given clearly less than the one with most."""
        return self._groups[place.line.group].shares.light(place.project, now)

    def waiting(self, project: str) -> int:
        """Return how many requests of a project wait."""
        return len(self._projects.get(project, ()))

    def add(self, place: Place[Ticket], now: float) -> Place[Ticket] | None:
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
        group = self._group(place.line.group, now)
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

    def served(self, place: Place[Ticket], now: float) -> None:
        """Take out a request that got what it waited for, at its project's expense."""
        group = self._groups[place.line.group]
        flow = group.lines[place.line][place.project]
        begun = max(flow.joined, group.clear_at.get(place.project, 0.0))
        group.level = max(group.level, begun)
        group.clear_at[place.project] = begun + place.cost
        group.shares.add(place.project, place.cost, now)
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

    def _group(self, name: Hashable, now: float) -> _Group[Ticket]:
        """Return a group. Where nobody has waited for a while there was enough for all: deficits are forgotten."""
        group = self._groups.get(name)
        if group is None or (not group.waiting and now - group.used_at > _REMEMBERED_SECONDS):
            group = self._groups[name] = _Group()
            if len(self._groups) > _REMEMBERED:
                self._groups = OrderedDict(
                    (key, kept) for key, kept in self._groups.items() if kept.waiting or kept is group
                )
        group.used_at = now
        return group

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
        mine = self._projects[place.project]
        del mine[place]
        if not mine:
            del self._projects[place.project]
        if len(self._deadlines) > 2 * self._count + _SPARE:
            self._deadlines = [other for other in self._deadlines if other.waiting]
            heapify(self._deadlines)
