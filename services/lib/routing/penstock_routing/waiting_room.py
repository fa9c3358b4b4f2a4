"""Where requests wait for an account that is about to have room: who gets it, who gives up, when to look again.

Newcomers go behind those who wait for the same thing. Whenever an account may have room (a request has ended, a share
or a cooldown has changed, the soonest time that was known has come) the caller takes a `turn`, in which the fairest
next of each line asks, then the one after it, until one of them is refused. Pure: `now` is the caller's seconds.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Generic, NamedTuple

from penstock_routing.candidates import NoneLeft
from penstock_routing.fair_queue import FairQueue, Place, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from penstock_routing.candidates import Pick

    Ask = Callable[[float], Pick | NoneLeft]

_SHORTEST_NAP_SECONDS: Final = 0.005
_LONGEST_NAP_SECONDS: Final = 0.1
_ANY_MOMENT: Final = frozenset({"SlotsFull", "Returning", "HalfOpen", "Busy"})
"""Obstacles that end when some request does: the seconds that are said of them are a guess."""


class Waiter(NamedTuple, Generic[Ticket]):
    """What a place stands for: how to ask for an account, and the caller's own thing to tell the answer to."""

    ask: Ask
    ticket: Ticket


class Departure(NamedTuple, Generic[Ticket]):
    """Somebody who waits no longer, and the answer: an account, or why there was none."""

    ticket: Ticket
    answer: Pick | NoneLeft


class _Refusal:
    """What the first of a line was told last, and when."""

    __slots__ = ("at", "none")

    def __init__(self, none: NoneLeft, at: float) -> None:
        self.none = none
        self.at = at

    def aged(self, now: float) -> NoneLeft:
        return replace(self.none, soonest_seconds=max(self.none.soonest_seconds - (now - self.at), 0.001))


class WaitingRoom(Generic[Ticket]):
    """At most `places` requests wait, of one project at most `per_project` (three quarters of all by default)."""

    def __init__(self, places: int, *, per_project: int | None = None) -> None:
        self._queue: FairQueue[Waiter[Ticket]] = FairQueue(
            places, places - places // 4 if per_project is None else per_project
        )
        self._refusals: dict[Hashable, _Refusal] = {}
        self._crowded_out: list[Place[Waiter[Ticket]]] = []

    def __len__(self) -> int:
        return len(self._queue)

    def busy(self, line: Hashable) -> bool:
        """Tell whether somebody waits in that line already: a newcomer goes behind."""
        return self._queue.busy(line)

    def refusal(self, line: Hashable, now: float) -> NoneLeft | None:
        """Return what the first of a busy line was told last."""
        known = self._refusals.get(line)
        return known.aged(now) if known is not None else None

    def enter(
        self,
        line: Hashable,
        ask: Ask,
        ticket: Ticket,
        *,
        project: str,
        cost: float,
        deadline: float,
        first: NoneLeft | None,
        now: float,
    ) -> Place[Waiter[Ticket]]:
        """Wait; `first` is what this one was told when it asked itself, None when it goes behind others.

        Who is crowded out, perhaps this one, departs in the next turn, which should follow at once (`due` says so).
        """
        if first is not None:
            self._refusals[line] = _Refusal(first, now)
        place = Place(line, project, cost, deadline, Waiter(ask, ticket))
        loser = self._queue.add(place)
        if loser is not None:
            self._crowded_out.append(loser)
        return place

    def leave(self, place: Place[Waiter[Ticket]]) -> None:
        """Wait no longer; nothing when that one has departed already."""
        self._queue.leave(place)
        self._forget(place.line)

    def turn(self, now: float) -> list[Departure[Ticket]]:
        """Let everybody ask who may, in fair order; returns all who wait no longer."""
        gone = [*self._crowded_out, *self._queue.expired(now)]
        self._crowded_out.clear()
        departures = [Departure(place.ticket.ticket, self._told(place, now)) for place in gone]
        lines = deque(self._queue.lines())
        while lines:
            line = lines.popleft()
            departure = self._step(line, now)
            if departure is not None:
                departures.append(departure)
                lines.append(line)
        for place in gone:
            self._forget(place.line)
        return departures

    def due(self) -> float:
        """Return when to take the next turn at the latest; inf when nobody waits."""
        if self._crowded_out:
            return -math.inf
        if not len(self._queue):
            return math.inf
        soonest = min(
            refusal.at + min(max(refusal.none.soonest_seconds, _SHORTEST_NAP_SECONDS), _LONGEST_NAP_SECONDS)
            if (refusal := self._refusals.get(line)) is not None
            else -math.inf
            for line in self._queue.lines()
        )
        return min(soonest, self._queue.next_deadline())

    def _step(self, line: Hashable, now: float) -> Departure[Ticket] | None:
        place = self._queue.head(line)
        if place is None:
            self._refusals.pop(line, None)
            return None
        answer = place.ticket.ask(now)
        if not isinstance(answer, NoneLeft):
            self._queue.served(place)
            return Departure(place.ticket.ticket, answer)
        self._refusals[line] = _Refusal(answer, now)
        if not hopeless(answer, place.deadline - now):
            return None
        self._queue.leave(place)
        return Departure(place.ticket.ticket, answer)

    def _told(self, place: Place[Waiter[Ticket]], now: float) -> NoneLeft:
        refusal = self._refusals.get(place.line)
        if refusal is None:
            return NoneLeft(throttled=True, soonest_seconds=_LONGEST_NAP_SECONDS)
        return refusal.aged(now)

    def _forget(self, line: Hashable) -> None:
        if not self._queue.busy(line):
            self._refusals.pop(line, None)


def hopeless(none: NoneLeft, seconds: float) -> bool:
    """Tell whether nobody will have room within so many seconds, as far as anybody knows."""
    return none.soonest_seconds > seconds and _ANY_MOMENT.isdisjoint(none.reasons.values())
