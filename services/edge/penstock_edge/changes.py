"""What changed of keys, projects and plans: auth's stream, and for how long it has been silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import grpc

from penstock.auth.v1 import auth_pb2
from penstock_chassis import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from grpc.aio import UnaryStreamCall

    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub

_log = logs.get(__name__)

_SILENCE_SECONDS: Final = 2.0
_FIRST_PAUSE_SECONDS: Final = 0.05
_LAST_PAUSE_SECONDS: Final = 0.4
_MOVE_SECONDS: Final = 5.0


class Listener(Protocol):
    """Who must no longer trust what it knew (Admission)."""

    def key_changed(self, key_sha256: bytes) -> None:
        """Ask anew about one key."""
        ...

    def project_changed(self, project: str) -> None:
        """Ask anew about all keys of a project."""
        ...

    def plan_changed(self, plan: str) -> None:
        """Ask anew about all keys of a plan."""
        ...

    def everything_changed(self) -> None:
        """Ask anew about all keys."""
        ...


class Changes:
    """Keeps `Auth.WatchChanges` open. `clock` is monotonic seconds, `rng` gives floats in [0, 1).

    After every reconnection, and after a gap in the numbers, everything counts as changed.
    """

    def __init__(
        self,
        stub: AuthServiceAsyncStub,
        *,
        session_id: str,
        clock: Callable[[], float],
        rng: Callable[[], float],
        saw_epoch: Callable[[str], None],
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> None:
        self.heard_at = float("-inf")
        """When the stream last said anything; without it for 2 s no allowance older than 2 s may be used."""
        self._stub = stub
        self._session_id = session_id
        self._clock = clock
        self._rng = rng
        self._saw_epoch = saw_epoch
        self._silence = silence_seconds
        self._seq = 0
        self._call: UnaryStreamCall[auth_pb2.WatchChangesRequest, auth_pb2.Change] | None = None
        self._first_at = float("inf")
        self._moved_at = float("-inf")

    def moved(self, sent_at: float) -> None:
        """Listen where calls go now: the replica that answered one sent at `sent_at` has no stream of this session."""
        now = self._clock()
        if self._call is not None and sent_at > self._first_at and now - self._moved_at > _MOVE_SECONDS:
            self._moved_at = now
            self._call.cancel()

    def live(self, now: float) -> bool:
        """Say whether the stream has spoken within the last 2 s."""
        return now - self.heard_at < self._silence

    async def run(self, listener: Listener) -> None:
        """Listen until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            before = self._clock()
            try:
                await self._listen(listener)
            except (grpc.RpcError, TimeoutError) as error:
                code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else "silence"
                _log.info("changes_ended", error=code)
            except asyncio.CancelledError:
                # Reading a call that `moved` ended raises this too; our own end must go on outwards.
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                _log.info("changes_ended", error="calls go to another replica")
            pause = _FIRST_PAUSE_SECONDS if self._clock() - before > 1.0 else min(pause * 2, _LAST_PAUSE_SECONDS)
            await asyncio.sleep(pause * (0.5 + self._rng()))

    async def _listen(self, listener: Listener) -> None:
        call = self._stub.WatchChanges(auth_pb2.WatchChangesRequest(edge_session=self._session_id, from_seq=self._seq))
        self._call, self._first_at, first = call, float("inf"), True
        try:
            while True:
                async with asyncio.timeout(self._silence):
                    change = await call.read()
                if not isinstance(change, auth_pb2.Change):
                    return
                if change.epoch:
                    self._saw_epoch(change.epoch)
                self._take(change, listener, first=first)
                self.heard_at = self._clock()
                if first:
                    self._first_at, first = self.heard_at, False
        finally:
            self._call = None
            call.cancel()

    def _take(self, change: auth_pb2.Change, listener: Listener, *, first: bool) -> None:
        what = change.WhichOneof("what")
        expected = self._seq if what == "heartbeat" else self._seq + 1
        gap = first or change.seq > expected
        self._seq = change.seq
        if gap or what == "everything":
            listener.everything_changed()
        elif what == "key_sha256":
            listener.key_changed(change.key_sha256)
        elif what == "project":
            listener.project_changed(change.project)
        elif what == "plan":
            listener.plan_changed(change.plan)
