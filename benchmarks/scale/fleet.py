"""Many edge sessions in one process, with the edge's own admission, allowances, settlement, reports and router's view.

What is missing of an edge is its HTTP side, its upstream client, and the disk under its spool. Commands come as lines
of JSON on stdin, each is answered by one line on stdout.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import uuid
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import uvloop
from world import digest_of, key_id, project_of

from penstock.auth.v1.auth_pb2_grpc import AuthServiceStub
from penstock.router.v1.router_pb2_grpc import RouterServiceStub
from penstock_chassis import rpc
from penstock_edge import batch_calls
from penstock_edge.admission import Admission
from penstock_edge.changes import Changes
from penstock_edge.observer import Unobserved
from penstock_edge.outcomes import Reporter
from penstock_edge.records import AttemptRecord, Closed, Need, Opened, Refused, Usage
from penstock_edge.session import Session, new_session_id
from penstock_edge.settlement import Settlement
from penstock_edge.snapshot import RouterView
from penstock_routing import Outcome, Policy, Pool, Traits
from penstock_routing.candidates import NoneLeft

if TYPE_CHECKING:
    from collections.abc import Iterable

MODEL = "claude-haiku-4-5"
INPUT, OUTPUT = 250, 300


class Wire:
    """A stub that counts calls and bytes, both ways, by method."""

    def __init__(self, stub: Any, counts: Counter[str], watched: Counter[str]) -> None:
        self._stub = stub
        self._counts = counts
        self._watched = watched

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._stub, name)
        counts = self._counts
        if name in {"Watch", "WatchChanges"}:
            return lambda request, **more: _Stream(name, call(request, **more), request, counts)

        async def unary(request: Any, **more: Any) -> Any:
            counts[f"{name} calls"] += 1
            counts[f"{name} bytes out"] += len(request) if isinstance(request, bytes) else request.ByteSize()
            answer = await call(request, **more)
            counts[f"{name} bytes in"] += answer.ByteSize()
            return answer

        return unary


class _Stream:
    def __init__(self, name: str, call: Any, request: Any, counts: Counter[str]) -> None:
        self._name = name
        self._call = call
        self._counts = counts
        counts[f"{name} calls"] += 1
        counts[f"{name} bytes out"] += request.ByteSize()

    async def read(self) -> Any:
        message = await self._call.read()
        what = message.WhichOneof("what") if hasattr(message, "WhichOneof") else "end"
        self._counts[f"{self._name} {what}"] += 1
        if what != "end":
            self._counts[f"{self._name} {what} bytes"] += message.ByteSize()
        return message

    def cancel(self) -> None:
        self._call.cancel()


class Observed(Unobserved):
    """Counts what happened."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def admitted(self, *, degraded: bool) -> None:
        del degraded
        self._counts["admitted"] += 1

    def refused(self, reason: str) -> None:
        self._counts["refused"] += 1
        self._counts[f"refused {reason}"] += 1

    def allow_called(self, result: str, seconds: float) -> None:
        del seconds
        self._counts[f"allow {result}"] += 1

    def settled(self, *, committed: int, quarantined: int) -> None:
        self._counts["committed"] += committed
        self._counts["quarantined"] += quarantined

    def settle_failed(self) -> None:
        self._counts["settle failed"] += 1


class NoSpool:
    """Keeps nothing: what reaches the disk is not what is measured here."""

    def open(self, opened: Opened) -> None:
        del opened

    def close(self, closed: Closed) -> None:
        del closed

    def acknowledge(self, request_ids: Iterable[str]) -> None:
        del request_ids


class EdgeSession:
    """One edge, as `penstock_edge.main` puts it together."""

    def __init__(self, number: int, auth: str, router: str, counts: Counter[str]) -> None:
        clock, rng = time.monotonic, random.random
        self.counts = counts
        self.number = number
        self._channels = [rpc.channel(auth), rpc.channel(router)]
        auth_stub: Any = Wire(AuthServiceStub(self._channels[0]), counts, counts)
        router_stub: Any = Wire(RouterServiceStub(self._channels[1]), counts, counts)
        self.id = new_session_id()
        name = f"edge-{number}"
        observer: Any = Observed(counts)
        settle, report = batch_calls.settle(self._channels[0]), batch_calls.report(self._channels[1])
        batches: Any = Wire(SimpleNamespace(Settle=settle, Report=report), counts, counts)
        self.view = RouterView(router_stub, Pool(Policy()), session_id=self.id, edge=name, clock=clock, rng=rng)

        def version() -> str:
            return self.view.catalog_version

        self.reporter = Reporter(batches.Report, self.view, session_id=self.id, clock=clock, observer=observer)
        self.session = Session(auth_stub, edge=name, session_id=self.id, catalog_version=version, clock=clock)
        self.changes = Changes(auth_stub, session_id=self.id, clock=clock, rng=rng, saw_epoch=self.session.saw_epoch)
        self.admission = Admission(
            auth_stub, self.session, self.changes, clock=clock, rng=rng, observer=observer, catalog_version=version
        )
        spool: Any = NoSpool()
        self.settlement = Settlement(
            batches.Settle, spool, self.admission, session_id=self.id, observer=observer, rng=rng
        )
        self._tasks: list[asyncio.Task[Any]] = []

    def begin(self) -> None:
        """Run what an edge runs beside its requests."""
        for work in (
            self.view.run(),
            self.reporter.run(),
            self.changes.run(self.admission),
            self.session.run(self.admission),
            self.admission.run(),
            self.settlement.run(),
        ):
            self._tasks.append(asyncio.create_task(work))

    @property
    def ready(self) -> bool:
        """Whether an edge would call itself ready, and has its shares."""
        return self.view.ready and self.view.connected and self.session.in_step

    async def request(self, key: int, projects: int, hold: float) -> None:
        """Play one request: admission, a pick, a while, the end and its settlement."""
        now = time.monotonic()
        need = Need(input_tokens=INPUT, output_tokens=OUTPUT, micro_usd=2_000)
        digest = digest_of(key)
        admitted = self.admission.try_admit(digest, need, now)
        if admitted is None:
            self.counts["asked"] += 1
            admitted = await self.admission.admit(digest, need, now + 10)
        if isinstance(admitted, Refused):
            return
        pool = self.view.pool
        project = project_of(key, projects)
        traits = Traits(model=MODEL, project=project, estimated_tokens=INPUT + OUTPUT, session=self.id)
        pick = pool.pick(traits, frozenset(), time.monotonic(), random.random)
        if isinstance(pick, NoneLeft):
            self.counts["no account"] += 1
            self.admission.ended(admitted)
            self.admission.settled(admitted)
            return
        began = time.time_ns() // 1_000_000
        sent = time.monotonic()
        await asyncio.sleep(hold)
        ended = time.monotonic()
        self.admission.ended(admitted)
        request_id = f"req_{uuid.uuid4().hex}"
        outcome = Outcome(
            request_id=request_id,
            project=project,
            account=pick.account,
            model=MODEL,
            status=200,
            sent_at=sent,
            ended_at=ended,
            first_byte=True,
            tokens=INPUT + OUTPUT,
        )
        self.reporter.outcome(outcome, urgent=pool.finished(pick, outcome, ended))
        self._settle(request_id, key, admitted, pick.account, began, int(hold * 1000))

    def _settle(self, request_id: str, key: int, admitted: Any, account: str, began: int, took: int) -> None:
        model = self.view.resolve(MODEL)
        price = self.view.price(model, began) if model is not None else None
        opened = Opened(
            request_id=request_id,
            key_id=key_id(key),
            key_sha256=digest_of(key),
            project=admitted.key.project,
            model=MODEL,
            dialect="anthropic",
            price_digest=price.digest if price is not None else "",
            price_multiplier_ppm=1_000_000,
            admitted_at_ms=admitted.admitted_at_ms,
            started_at_ms=began,
            streamed=True,
        )
        attempt = AttemptRecord(
            index=0,
            account=account,
            status=200,
            usage=Usage(input_tokens=INPUT, output_tokens=OUTPUT),
            reported=True,
            upstream_request_id=f"req_{request_id[-24:]}",
            started_at_ms=began,
            first_byte_ms=took // 2,
            duration_ms=took,
            upstream_model=MODEL,
        )
        closed = Closed(
            request_id=request_id,
            state="complete",
            delivered=0,
            attempts=[attempt],
            ended_at_ms=began + took,
            client_status=200,
        )
        self.settlement.finish(opened, closed, admitted)

    async def end(self) -> None:
        """Say goodbye as a drained edge does."""
        await self.settlement.flush(5.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.reporter.flush(1.0)
        await self.session.end()
        for channel in self._channels:
            await channel.close(None)


class Play:
    """Carries out commands."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sessions: list[EdgeSession] = []
        self.projects = 1

    async def begin(self, *, sessions: int, first: int, projects: int, auth: str, router: str) -> dict[str, float]:
        """Start the sessions and wait until all are ready."""
        self.projects = projects
        began = time.monotonic()
        self.sessions = [EdgeSession(first + n, auth, router, self.counts) for n in range(sessions)]
        for each in self.sessions:
            each.begin()
        await self._all(lambda each: each.ready)
        return {"ready after": time.monotonic() - began}

    async def ready(self) -> dict[str, float]:
        """Wait until all sessions are ready (again)."""
        await self._all(lambda each: each.ready)
        return {}

    async def loaded(self, *, not_version: str) -> dict[str, float]:
        """Wait until all have another catalog than this one."""
        await self._all(lambda each: each.view.catalog_version != not_version)
        return {}

    async def serve(
        self, *, keys: list[int], keys_each: int, per_second: float, seconds: float, hold: float = 0.3
    ) -> dict[str, float]:
        """Send `per_second` requests of each key, evenly; session n plays `keys_each` keys from place n on."""
        tasks: set[asyncio.Task[None]] = set()
        pairs = [
            (session, keys[(session.number * keys_each + place) % len(keys)])
            for session in self.sessions
            for place in range(keys_each)
        ]
        random.shuffle(pairs)
        pause = 1 / (per_second * len(pairs))
        began = time.monotonic()
        total = max(int(seconds / pause), 1)
        for number in range(total):
            session, key = pairs[number % len(pairs)]
            task = asyncio.create_task(session.request(key, self.projects, hold))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            ahead = began + (number + 1) * pause - time.monotonic()
            if ahead > 0 or number % 64 == 0:
                await asyncio.sleep(max(ahead, 0))
        if tasks:
            await asyncio.wait(tasks, timeout=30)
        return {"sent": total, "pairs": len(pairs), "left": len(tasks)}

    async def counted(self) -> dict[str, float]:
        """Return all counts since the last such call."""
        counts = dict(self.counts)
        self.counts.clear()
        return counts

    async def end(self) -> dict[str, float]:
        """End all sessions."""
        await asyncio.gather(*(each.end() for each in self.sessions))
        return {}

    async def _all(self, holds: Any, seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while not all(holds(each) for each in self.sessions):
            if time.monotonic() > until:
                raise TimeoutError(
                    f"{sum(holds(each) for each in self.sessions)} of {len(self.sessions)} after {seconds} s"
                )
            await asyncio.sleep(0.02)


async def main() -> None:
    play = Play()
    # Answers alone go to stdout; logs would come there too.
    answers, sys.stdout = sys.stdout, sys.stderr
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        words = json.loads(line)
        what = words.pop("do")
        try:
            answer = await getattr(play, what)(**words)
        except Exception as error:
            answer = {"failed": f"{what}: {error!r}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if what == "end":
            return


if __name__ == "__main__":
    uvloop.run(main())
