"""Finds an account for each request, now or after a wait: who gets the room there is, who gives up, when to look again.

Newcomers go behind those who wait for the same thing. A request whose prompt is cached by an account that is full for
less time than it takes to read the prompt anew waits for that account; when that has lasted too long it goes elsewhere,
or waits for anybody. Whenever an account may have room (a request has ended, a share or a cooldown has changed, the
soonest time that was known has come) the caller takes a `turn`, in which the fairest next of all who wait for a model
asks, then the one after it, until in each line one was refused. Pure: `now` is the caller's seconds.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Generic, NamedTuple

from penstock_routing.candidates import NoneLeft, Pick
from penstock_routing.fair_queue import FairQueue, Line, Place, Ticket
from penstock_routing.gauges import LIGHT_RESERVE, RESERVE, STRANGE_RESERVE
from penstock_routing.lanes import UPSTREAM_FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from penstock_routing.candidates import Traits
    from penstock_routing.pool import Pool

_SHORTEST_NAP_SECONDS: Final = 0.005
_LONGEST_NAP_SECONDS: Final = 0.1
_SMALL_TOKENS: Final = 1024
"""Who waits for anybody stands in a line by size, these and then doubling: a large one holds up no small ones."""
_ANY_MOMENT: Final = frozenset({"SlotsFull", UPSTREAM_FULL, "Returning", "HalfOpen", "Busy"})
"""Obstacles that end when some request does: the seconds that are said of them are a guess."""


class Wish(Generic[Ticket]):
    """A request that looks for an account. `preferred`: the same for accounts to be asked first, if there are any."""

    __slots__ = ("gives_up_at", "home", "known", "place", "preferred", "ticket", "traits", "tried")

    def __init__(
        self, traits: Traits, tried: frozenset[str], ticket: Ticket, *, preferred: Traits | None = None
    ) -> None:
        self.traits = traits
        self.tried = tried
        self.ticket = ticket
        self.preferred = preferred
        self.gives_up_at = math.inf
        self.home = ""
        """The account that it waits for; empty: any."""
        self.known = False
        """Its conversation has been served here lately."""
        self.place: Place[Wish[Ticket]] | None = None


class Departure(NamedTuple, Generic[Ticket]):
    """Somebody who waits no longer, and the answer: an account, or why there was none."""

    ticket: Ticket
    answer: Pick | NoneLeft


class _Refusal(Generic[Ticket]):
    """What the first of a line was told last, and when; `changes`: the pool's count of them then."""

    __slots__ = ("at", "changes", "none", "reserve", "seen_at", "until", "wish")

    def __init__(self, none: NoneLeft, wish: Wish[Ticket], at: float, changes: int) -> None:
        self.none = none
        self.wish = wish
        self.reserve = wish.traits.reserve
        self.at = self.seen_at = at
        self.changes = changes
        self.until = at + none.stands_seconds if wish.preferred is None else -math.inf

    def stands(self, wish: Wish[Ticket], reserve: float, changes: int, now: float) -> bool:
        """Tell whether the same would be told again: only time can change it, and has not come."""
        return now < self.until and changes == self.changes and wish is self.wish and reserve == self.reserve

    def due(self) -> float:
        left = self.none.soonest_seconds - (self.seen_at - self.at)
        return self.seen_at + min(max(left, _SHORTEST_NAP_SECONDS), _LONGEST_NAP_SECONDS)

    def aged(self, now: float) -> NoneLeft:
        left = max(self.none.soonest_seconds - (now - self.at), 0.001)
        return replace(self.none, soonest_seconds=left, home="", worth_seconds=0.0)


class WaitingRoom(Generic[Ticket]):
    """At most `places` requests wait, each at most `seconds`, of one project three quarters of `places`."""

    def __init__(
        self,
        pool: Pool,
        rng: Callable[[], float],
        *,
        places: int,
        seconds: float,
        per_project: int | None = None,
    ) -> None:
        self._pool = pool
        self._rng = rng
        self._seconds = seconds
        self._queue: FairQueue[Wish[Ticket]] = FairQueue(
            places, places - places // 4 if per_project is None else per_project
        )
        self._refusals: dict[Line, _Refusal[Ticket]] = {}
        self._crowded_out: list[Wish[Ticket]] = []
        self._restless = False

    def __len__(self) -> int:
        return len(self._queue) + len(self._crowded_out)

    def try_seek(self, traits: Traits, tried: frozenset[str], now: float) -> Pick | NoneLeft | None:
        """Return an account, or why there will be none; None when that takes a wish (`seek`) and perhaps a wait."""
        if self._queue.crowded((traits.model, traits.operation), now):
            return None
        answer = self._pool.pick(traits, tried, now, self._rng, stay=self._seconds)
        return None if isinstance(answer, NoneLeft) and not self._final(answer, tried) else answer

    def seek(self, wish: Wish[Ticket], now: float) -> Pick | NoneLeft | None:
        """Return an account, or why there is none; None when the wish waits: it departs in one of the next turns."""
        wish.gives_up_at = now + self._seconds
        if self._queue.crowded(_group(wish), now):
            name, worth, fresh = self._pool.home(wish.traits, now)
            home = name if name not in wish.tried else ""
            wish.known = bool(name)
            self._enter(wish, home, fresh, min(now + worth, wish.gives_up_at) if home else wish.gives_up_at, now)
            # Whose turn it is shall be decided at once.
            self._restless = True
            return None
        answer = self._ask(wish, now, stay=self._seconds)
        if not isinstance(answer, NoneLeft):
            return answer
        if self._final(answer, wish.tried):
            return answer
        name, _, fresh = self._pool.home(wish.traits, now)
        wish.known = bool(name)
        if answer.home:
            line = self._enter(wish, answer.home, fresh, min(now + answer.worth_seconds, wish.gives_up_at), now)
        else:
            line = self._enter(wish, "", fresh, wish.gives_up_at, now)
        self._refusals[line] = self._refusal(answer, wish, now)
        return None

    def _final(self, answer: NoneLeft, tried: frozenset[str]) -> bool:
        """Tell whether waiting would not help."""
        return not answer.home and (answer.reasons.keys() <= tried or hopeless(answer, self._seconds))

    def refusal(self, wish: Wish[Ticket], now: float) -> NoneLeft | None:
        """Return what the first of the line of a wish that waits was told last."""
        known = self._refusals.get(wish.place.line) if wish.place is not None else None
        return known.aged(now) if known is not None else None

    def leave(self, wish: Wish[Ticket]) -> None:
        """Wait no longer; nothing when that one has departed already."""
        if wish in self._crowded_out:
            self._crowded_out.remove(wish)
            self._forget_of(wish)
        elif wish.place is not None:
            self._queue.leave(wish.place)
            self._forget(wish.place.line)

    def turn(self, now: float) -> list[Departure[Ticket]]:
        """Let everybody ask who may, in fair order; returns all who wait no longer."""
        self._restless = False
        departures = [Departure(wish.ticket, self._told(wish, now)) for wish in self._crowded_out]
        crowded_out, self._crowded_out = self._crowded_out, []
        for wish in crowded_out:
            self._forget_of(wish)
        for group in self._queue.groups():
            blocked: set[Line] = set()
            while (place := self._queue.head(group, blocked)) is not None:
                departure = self._step(place, blocked, now)
                if departure is not None:
                    departures.append(departure)
        for place in self._queue.expired(now):
            departure = self._waited(place, now)
            self._forget(place.line)
            if departure is not None:
                departures.append(departure)
        return departures

    def due(self) -> float:
        """Return when to take the next turn at the latest; inf when nobody waits."""
        if self._crowded_out or self._restless:
            return -math.inf
        soonest = self._queue.next_deadline()
        for line in self._queue.lines():
            refusal = self._refusals.get(line)
            if refusal is None:
                return -math.inf
            soonest = min(soonest, refusal.due())
        return soonest

    def _ask(self, wish: Wish[Ticket], now: float, *, stay: float, reserve: float = RESERVE) -> Pick | NoneLeft:
        traits = wish.traits
        if traits.reserve != reserve:
            traits = wish.traits = replace(traits, reserve=reserve)
        if wish.preferred is not None:
            found = self._pool.pick(wish.preferred, wish.tried, now, self._rng)
            if not isinstance(found, NoneLeft):
                return found
        return self._pool.pick(traits, wish.tried, now, self._rng, stay=stay)

    def _enter(self, wish: Wish[Ticket], home: str, fresh: int, deadline: float, now: float) -> Line:
        wish.home = home
        line = Line(_group(wish), (wish.traits.providers, wish.tried, home or (fresh // _SMALL_TOKENS).bit_length()))
        wish.place = Place(line, wish.traits.project, float(fresh + wish.traits.estimated_output), deadline, wish)
        loser = self._queue.add(wish.place, now)
        if loser is not None:
            self._crowded_out.append(loser.ticket)
            self._forget(loser.line)
        return line

    def _step(self, place: Place[Wish[Ticket]], blocked: set[Line], now: float) -> Departure[Ticket] | None:
        wish, line, reserve = place.ticket, place.line, self._reserve(place, now)
        known = self._refusals.get(line)
        if known is not None and known.stands(wish, reserve, self._pool.changes, now):
            known.seen_at = now
            self._queue.pressed(place, now)
            blocked.add(line)
            return None
        stay = max(place.deadline - now, 0.0) if wish.home else 0.0
        answer = self._ask(wish, now, stay=stay, reserve=reserve)
        if not isinstance(answer, NoneLeft):
            self._queue.served(place, now)
            self._forget(line)
            return Departure(wish.ticket, answer)
        self._refusals[line] = self._refusal(answer, wish, now)
        self._queue.pressed(place, now)
        if place.deadline > now and hopeless(answer, wish.gives_up_at - now):
            self._queue.leave(place)
            self._forget(line)
            return Departure(wish.ticket, answer)
        blocked.add(line)
        return None

    def _reserve(self, place: Place[Wish[Ticket]], now: float) -> float:
        """Return what one who waits has to leave of an upstream's limits.

        Least where its project has been given less than others: so these find room. Most where nobody knows its
        conversation: while not all can be served, those that are warm go on, for each of their turns costs least.
        """
        if self._queue.light(place, now):
            return LIGHT_RESERVE
        return RESERVE if place.ticket.known else STRANGE_RESERVE

    def _waited(self, place: Place[Wish[Ticket]], now: float) -> Departure[Ticket] | None:
        """Decide about one whose time in its line is over: who waited for its home goes elsewhere, or for anybody."""
        wish = place.ticket
        if now >= wish.gives_up_at:
            return Departure(wish.ticket, self._told(wish, now))
        answer = self._ask(wish, now, stay=0.0)
        if not isinstance(answer, NoneLeft):
            return Departure(wish.ticket, answer)
        if hopeless(answer, wish.gives_up_at - now):
            return Departure(wish.ticket, answer)
        fresh = wish.traits.estimated_tokens - wish.traits.estimated_output
        line = self._enter(wish, "", fresh, wish.gives_up_at, now)
        self._refusals[line] = self._refusal(answer, wish, now)
        return None

    def _refusal(self, none: NoneLeft, wish: Wish[Ticket], now: float) -> _Refusal[Ticket]:
        return _Refusal(none, wish, now, self._pool.changes)

    def _told(self, wish: Wish[Ticket], now: float) -> NoneLeft:
        refusal = self.refusal(wish, now)
        return refusal if refusal is not None else NoneLeft(throttled=True, soonest_seconds=_LONGEST_NAP_SECONDS)

    def _forget_of(self, wish: Wish[Ticket]) -> None:
        if wish.place is not None:
            self._forget(wish.place.line)

    def _forget(self, line: Line) -> None:
        if not self._queue.busy(line):
            self._refusals.pop(line, None)


def _group(wish: Wish[Ticket]) -> Hashable:
    return (wish.traits.model, wish.traits.operation)


def hopeless(none: NoneLeft, seconds: float) -> bool:
    """Tell whether nobody will have room within so many seconds, as far as anybody knows."""
    return none.soonest_seconds > seconds and _ANY_MOMENT.isdisjoint(none.reasons.values())
