"""Outcomes of upstream attempts on their way to the router, with what this edge would like of each account."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import grpc

from penstock.router.v1 import router_pb2
from penstock_chassis import logs
from penstock_edge.outcome_messages import OutcomeMessages
from penstock_routing import outcomes as classes

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.batch_calls import Report
    from penstock_edge.observer import Observer
    from penstock_edge.snapshot import RouterView
    from penstock_routing import Outcome

_log = logs.get(__name__)

_CALM: Final = frozenset({classes.OK, classes.CLIENT_LEFT, classes.CLIENT_FAULT})
_BATCH: Final = 2_000
# So many are written, or let go of, at once, and more where many wait, so that a long turn of the loop disposes of as
# many as came in it; between them the loop serves whoever waits.
_AT_A_STRETCH: Final = 16
_OF_THOSE_WAITING: Final = 16
# Demand that has not changed is said again so often, lest a mistake last for ever.
_WHOLE_SECONDS: Final = 15.0


class Reporter:
    """Sends outcomes in batches at most 250 ms old, and at the next turn of the loop when one is a failure.

    A batch is repeated with its number until the router has accepted it. The queue is bounded: when it overflows, the
    oldest good news goes first. Demand that the router has accepted on the present stream is not said again. `clock` is
    monotonic seconds, the same that outcomes carry.
    """

    def __init__(
        self,
        call: Report,
        view: RouterView,
        *,
        session_id: str,
        clock: Callable[[], float],
        observer: Observer,
        max_delay_seconds: float = 0.25,
        demand_seconds: float = 1.0,
        deadline_seconds: float = 2.0,
        max_queued: int = 10_000,
    ) -> None:
        self._call = call
        self._view = view
        self._session_id = session_id
        self._clock = clock
        self._observer = observer
        self._max_delay = max_delay_seconds
        self._demand_every = demand_seconds
        self._deadline = deadline_seconds
        self._max_queued = max_queued
        self._queue: deque[Outcome] = deque()
        self._bad: deque[Outcome] = deque()
        self._seq = 0
        self._messages = OutcomeMessages()
        self._sending: list[Outcome] = []
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._waiting: dict[str, int] = {}
        self._rates: dict[str, _Rate] = {}
        self._demanded_at = float("-inf")
        self._said: dict[str, _Row] = {}
        self._said_to = -1
        self._whole_at = float("-inf")
        view.listen(self._soon)

    @property
    def queued(self) -> int:
        """How many outcomes the router has not accepted yet."""
        return len(self._queue) + len(self._bad) + len(self._sending)

    def outcome(self, outcome: Outcome, *, urgent: bool = False) -> None:
        """Queue one outcome; a failure (or an `urgent` one) is sent at the loop's next turn."""
        rate = self._rates.get(outcome.account)
        if rate is None:
            rate = self._rates[outcome.account] = _Rate()
        rate.add(outcome.ended_at, max(outcome.tokens, 0))
        queued = len(self._queue) + len(self._bad)
        if queued == 0:
            self._wake.set()
        if urgent or outcome.cls not in _CALM:
            self._bad.append(outcome)
            self._urgent.set()
        else:
            self._queue.append(outcome)
        if queued >= self._max_queued:
            (self._queue or self._bad).popleft()
            self._observer.outcomes_dropped(1)

    def waiting(self, account: str, change: int) -> None:
        """Note that `change` more (or fewer) requests wait for a slot of `account`; asks for a larger share."""
        left = self._waiting.get(account, 0) + change
        if left > 0:
            self._waiting[account] = left
        else:
            self._waiting.pop(account, None)
        self._wake.set()

    def _soon(self) -> None:
        self._wake.set()
        self._urgent.set()

    async def run(self) -> None:
        """Report until cancelled; failures of the router are waited out."""
        pause = 0.1
        while True:
            await self._until_due()
            if await self._send(final=False):
                pause = 0.1
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)

    async def flush(self, seconds: float) -> bool:
        """Send what is left and say goodbye to the router. For the drain, when `run` has been cancelled."""
        try:
            async with asyncio.timeout(seconds):
                while self._sending or self._queue or self._bad:
                    if not await self._send(final=False):
                        await asyncio.sleep(0.1)
                return await self._send(final=True)
        except TimeoutError:
            return False

    async def _until_due(self) -> None:
        """Wait until a batch is old enough, a failure is there, or the router wants to hear our demand again."""
        if self._sending:
            return
        idle = max(0.0, self._demanded_at + self._demand_every - self._clock())
        try:
            async with asyncio.timeout(min(idle, self._demand_every)):
                await self._wake.wait()
        except TimeoutError:
            return
        try:
            async with asyncio.timeout(self._max_delay):
                await self._urgent.wait()
        except TimeoutError:
            pass

    async def _send(self, *, final: bool) -> bool:
        if not self._sending:
            self._take()
        now = self._clock()
        demand = self._demand(now)
        rows = [self._head(demand, final=final)]
        at = 0
        while at < len(self._sending):
            # Before the first ones too: taking them and the demand was a stretch of its own.
            await asyncio.sleep(0)
            end = at + self._stretch()
            rows += [self._messages.row(outcome, now) for outcome in self._sending[at:end]]
            at = end
        try:
            answer = await self._call(b"".join(rows), timeout=self._deadline)
        except grpc.aio.AioRpcError as error:
            _log.info("report_failed", error=error.code().name, outcomes=len(self._sending))
            self._demanded_at = now
            # Perhaps it was heard and perhaps not.
            self._said.clear()
            return False
        accepted, self._sending = self._sending, []
        self._said |= {row.account: _said(row) for row in demand}
        self._demanded_at = now
        if answer.resync:
            self._view.resync()
        while accepted:
            del accepted[-self._stretch() :]
            await asyncio.sleep(0)
        return True

    def _stretch(self) -> int:
        return max(_AT_A_STRETCH, len(self._queue) // _OF_THOSE_WAITING)

    def _take(self) -> None:
        """Take as many outcomes as go at once, failures first, for the next report."""
        self._wake.clear()
        self._urgent.clear()
        bad, calm = list(self._bad), list(self._queue)
        room = max(0, _BATCH - len(bad))
        self._sending = bad[:_BATCH] + calm[:room]
        self._bad, self._queue = deque(bad[_BATCH:]), deque(calm[room:])
        if self._bad or self._queue:
            # What is left is as old as what goes: it must not wait for a batch of its own.
            self._soon()
        self._seq += 1

    def _head(self, demand: list[router_pb2.Demand], *, final: bool) -> bytes:
        """Return what a report says beside its outcomes."""
        return router_pb2.ReportRequest(
            edge_session=self._session_id,
            seq=self._seq,
            demand=demand,
            catalog_version=self._view.catalog_version,
            final=final,
        ).SerializeToString()

    def _demand(self, now: float) -> list[router_pb2.Demand]:
        pool = self._view.pool
        shares = pool.shares()
        names = self._view.accounts()
        for gone in self._rates.keys() - set(names):
            if self._rates[gone].idle(now):
                del self._rates[gone]
        if self._said_to != self._view.streams or now - self._whole_at >= _WHOLE_SECONDS:
            self._said_to, self._whole_at = self._view.streams, now
            self._said.clear()
        rows = []
        for name in names:
            rate = self._rates.get(name)
            in_use = pool.in_flight(name)
            said: _Row = (
                in_use,
                in_use + self._waiting.get(name, 0),
                rate.requests(now) if rate else 0,
                rate.tokens(now) if rate else 0,
                shares[name][0] if name in shares else 0,
            )
            if self._said.get(name) != said:
                rows.append(_demanded(name, said))
        return rows


_Row = tuple[int, int, int, int, int]


def _demanded(account: str, said: _Row) -> router_pb2.Demand:
    in_use, wanted, requests, tokens, version = said
    return router_pb2.Demand(
        account=account,
        slots_in_use=in_use,
        slots_wanted=wanted,
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        share_version=version,
    )


def _said(row: router_pb2.Demand) -> _Row:
    return row.slots_in_use, row.slots_wanted, row.requests_per_minute, row.tokens_per_minute, row.share_version


class _Part:
    """Requests and tokens of five seconds."""

    __slots__ = ("number", "requests", "tokens")

    def __init__(self, number: int) -> None:
        self.number = number
        self.requests = 0
        self.tokens = 0


class _Rate:
    """Requests and tokens of one account in the last minute, in twelve parts of five seconds."""

    __slots__ = ("_last", "_parts")

    def __init__(self) -> None:
        self._last = _Part(-1)
        self._parts: deque[_Part] = deque(maxlen=13)

    def add(self, at: float, tokens: int) -> None:
        number = int(at / 5)
        part = self._last
        if part.number != number:
            part = self._last = _Part(number)
            self._parts.append(part)
        part.requests += 1
        part.tokens += tokens

    def requests(self, now: float) -> int:
        oldest = int(now // 5) - 12
        return sum([part.requests for part in self._parts if part.number > oldest])

    def tokens(self, now: float) -> int:
        oldest = int(now // 5) - 12
        return sum([part.tokens for part in self._parts if part.number > oldest])

    def idle(self, now: float) -> bool:
        return self.requests(now) == 0
