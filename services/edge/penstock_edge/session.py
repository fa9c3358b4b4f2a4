"""One life of this edge towards auth: a random name, heartbeats, and after a loss of the counters all that we hold."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import grpc

from penstock.auth.v1 import auth_pb2
from penstock_chassis import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub

_log = logs.get(__name__)

_RETRY_SECONDS: Final = 0.2
_FAREWELL_PAUSE_SECONDS: Final = 0.05
_DOUBT_SECONDS: Final = 0.5


class Declarable(Protocol):
    """Who knows what this session holds (Admission)."""

    async def quiet(self) -> None:
        """Return when no Allow is under way any more; those without an answer are given up, new ones wait."""
        ...

    def declarations(self) -> Sequence[auth_pb2.KeyDeclaration]:
        """Return all that this session holds. From here on the books count from what was declared."""
        ...

    def declared(self) -> None:
        """Go on: an epoch has our declaration."""
        ...


def new_session_id() -> str:
    """Return a name for this life of the edge that no other life has."""
    return f"es_{uuid.uuid4().hex}"


class Session:
    """The edge session: `id` lasts as long as the process, `edge` (its spool's folder) over restarts.

    Heartbeats every 5 s; when the counters' epoch changes, a complete declaration first of all. `clock` is monotonic
    seconds.
    """

    def __init__(
        self,
        stub: AuthServiceAsyncStub,
        *,
        edge: str,
        session_id: str,
        catalog_version: Callable[[], str],
        clock: Callable[[], float],
        heartbeat_seconds: float = 5.0,
        deadline_seconds: float = 2.0,
    ) -> None:
        self.id = session_id
        self.edge = edge
        self.epoch = ""
        """The epoch that has our complete declaration. Answers of any other are thrown away."""
        self.reached_at = float("-inf")
        """When the last call that auth answered was sent."""
        self._stub = stub
        self._catalog_version = catalog_version
        self._clock = clock
        self._heartbeat = heartbeat_seconds
        self._deadline = deadline_seconds
        self._answered = False
        self._wanted = ""
        self._past: deque[str] = deque(maxlen=16)
        self._beat_at = float("-inf")
        self._changed = asyncio.Event()
        self._told: Callable[[int, float, float], None] = lambda _ms, _sent, _received: None
        self._moved: Callable[[float], None] = lambda _sent: None

    @property
    def answered(self) -> bool:
        """True once auth has taken a declaration: part of this edge's readiness."""
        return self._answered

    @property
    def in_step(self) -> bool:
        """True while the newest epoch that we know of has our declaration."""
        return self.epoch != "" and self.epoch == self._wanted

    def reached(self, sent_at: float) -> None:
        """Note that auth answered a call sent at `sent_at`."""
        self.reached_at = max(self.reached_at, sent_at)

    def saw_epoch(self, epoch: str) -> None:
        """Note the epoch of any answer; an unknown one obliges us to declare ourselves."""
        if epoch and epoch != self._wanted and epoch not in self._past:
            if self._wanted:
                self._past.append(self._wanted)
            _log.info("epoch_changed", epoch=epoch, before=self._wanted)
            self._wanted = epoch
            self._changed.set()

    def doubt(self) -> None:
        """Ask soon whether the store still knows what we declared: it acts as if it did not."""
        if self._clock() - self._beat_at > _DOUBT_SECONDS:
            self._changed.set()

    def tell_time(self, told: Callable[[int, float, float], None]) -> None:
        """Call `told(store_time_ms, sent_at, received_at)` for each answer that carries the store's time."""
        self._told = told

    def tell_moved(self, moved: Callable[[float], None]) -> None:
        """Call `moved(sent_at)` for each answer of a replica of auth that has no stream of changes of this session."""
        self._moved = moved

    async def run(self, books: Declarable) -> None:
        """Declare and send heartbeats until cancelled."""
        while True:
            done = await (self._heart_beats() if self.in_step else self._declare_all(books))
            wait = self._heartbeat if done and self.in_step else (0.0 if done else _RETRY_SECONDS)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()

    async def end(self, seconds: float) -> bool:
        """Say, until it is heard, that this session has ended and owes nothing: when all settlements are final."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self._call(auth_pb2.DeclareRequest(final=True)) is None:  # noqa: ASYNC110 -- asked anew
                    await asyncio.sleep(_FAREWELL_PAUSE_SECONDS)
                return True
        return False

    async def _heart_beats(self) -> bool:
        self._beat_at = self._clock()
        answer = await self._call(auth_pb2.DeclareRequest(epoch=self.epoch))
        if answer is None:
            return False
        self.saw_epoch(answer.epoch)
        if answer.declare_again and answer.epoch == self.epoch:
            # The store has forgotten our declaration; what it holds of us is not what we have.
            self.epoch = ""
        return True

    async def _declare_all(self, books: Declarable) -> bool:
        """Tell one epoch all that we hold. The same message is repeated until that epoch has it, or another comes."""
        if not self._wanted:
            answer = await self._call(auth_pb2.DeclareRequest())
            if answer is None:
                return False
            self.saw_epoch(answer.epoch)
        epoch = self._wanted
        await books.quiet()
        request = auth_pb2.DeclareRequest(epoch=epoch, complete=True, keys=books.declarations())
        while not await self._declared(request):
            await _rest()
        books.declared()
        return True

    async def _declared(self, request: auth_pb2.DeclareRequest) -> bool:
        if self._wanted != request.epoch:
            return True
        answer = await self._call(request)
        if answer is None:
            return False
        self.saw_epoch(answer.epoch)
        if answer.epoch != request.epoch or answer.declare_again:
            return self._wanted != request.epoch
        self.epoch = request.epoch
        self._answered = True
        _log.info("declared", epoch=request.epoch, keys=len(request.keys))
        return True

    async def _call(self, request: auth_pb2.DeclareRequest) -> auth_pb2.DeclareResponse | None:
        request.edge_session = self.id
        request.edge = self.edge
        request.catalog_version = self._catalog_version()
        sent_at = self._clock()
        try:
            answer = await self._stub.Declare(request, timeout=self._deadline)
        except grpc.aio.AioRpcError as error:
            _log.info("declare_failed", error=error.code().name)
            return None
        self.reached(sent_at)
        self._told(answer.store_time_ms, sent_at, self._clock())
        if answer.watch_anew:
            self._moved(sent_at)
        return answer


async def _rest() -> None:
    await asyncio.sleep(_RETRY_SECONDS)
