"""What the heads of answers say of accounts' own limits, read as often as it can change what is decided.

A real answer says it in a dozen headers, and reading them costs as much as all else that is done with a small answer.
They are left unread while all of this holds: the account has answered for this model within `FRESH_SECONDS`, the answer
is a good one, and by the pool's own count at least `PLENTY` of each limit that it knows is left. With so much, whatever
is asked may go, and no account is preferred for having more (`penstock_routing.gauges`). So what is not read could have
changed a decision only where others took most of a minute's limit in that time. Errors are read, always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_routing import outcomes

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.providers.wire import Wire
    from penstock_edge.upstream import Call
    from penstock_routing import Pick, Pool
    from penstock_routing.accounts import Hints

FRESH_SECONDS: Final = 0.05
PLENTY: Final = 0.95
# Names come from the catalog: so many are never in use at once.
_KNOWN_AT_MOST: Final = 4096


class _Told:
    """What an account said last for one model; None: nothing."""

    __slots__ = ("at", "hints")

    def __init__(self, hints: Hints | None, at: float) -> None:
        self.hints = hints
        self.at = at


class HintReader:
    """Reads answers' heads for the pool. One per process; `clock` gives the pool's seconds."""

    def __init__(self, pool: Pool, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._clock = clock
        self._told: dict[tuple[str, str], _Told] = {}

    def read(self, wire: Wire, pick: Pick, call: Call) -> None:
        """Tell the pool what the head of an answer says of limits."""
        now = self._clock()
        key = (pick.account, pick.model)
        told = self._told.get(key)
        if told is not None and now - told.at < FRESH_SECONDS and _plain(pick, call) and _plenty(pick, now):
            pick.heard = told.hints
            return
        hints = wire.hints(call.headers)
        if hints is not None:
            self._pool.heard(pick, hints, now)
        # Counting tokens has limits of its own.
        if pick.operation != outcomes.COUNT_TOKENS:
            self._remember(key, _Told(hints, now))

    def _remember(self, key: tuple[str, str], told: _Told) -> None:
        if len(self._told) >= _KNOWN_AT_MOST:
            self._told.clear()
        self._told[key] = told


def _plain(pick: Pick, call: Call) -> bool:
    """Tell whether it is the good answer of an account with which nothing is wrong."""
    return 200 <= call.status < 300 and not pick.despite and not pick.gates and pick.operation != outcomes.COUNT_TOKENS


def _plenty(pick: Pick, now: float) -> bool:
    gauges = pick.lane.gauges
    return gauges is None or gauges.scarcity(PLENTY, now) >= 1.0
