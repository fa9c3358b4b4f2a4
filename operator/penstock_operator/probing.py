"""Has routers try the accounts' credentials, by unbilled requests: new ones at once, the others now and then."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import grpc.aio

from penstock.router.v1 import router_pb2
from penstock_chassis.tracing import outgoing
from penstock_operator import metrics
from penstock_operator.credentials import Proof, Result, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from penstock.router.v1 import router_pb2_grpc
    from penstock_catalog.documents import Account

_AT_ONCE: Final = 8
_DEADLINE_SECONDS: Final = 15.0
_FIRST_RETRY, _LONGEST_RETRY = 15.0, 300.0
_NO_ROUTER_RETRY: Final = 1.0
_RESULTS: Final[Mapping[int, Result]] = {
    router_pb2.PROBE_RESULT_OK: "Ok",
    router_pb2.PROBE_RESULT_REFUSED: "Refused",
    router_pb2.PROBE_RESULT_FAILED: "Failed",
    router_pb2.PROBE_RESULT_UNKNOWN: "Unknown",
}


class Asks(Protocol):
    """Has one credential tried; `Routers`, or a stand-in."""

    async def try_out(self, account: Account) -> Proof:
        """Return what came of it. Never raises."""


class Routers:
    """Asks one of the routers that can be asked, and another when it does not answer."""

    def __init__(self, speaking: Callable[[], list[router_pb2_grpc.RouterServiceAsyncStub]]) -> None:
        self._speaking = speaking

    async def try_out(self, account: Account) -> Proof:
        """Return what came of it; NoRouter when none would answer."""
        request = router_pb2.ProbeRequest(
            account=account.name,
            provider=account.provider,
            base_url=account.base_url,
            api_key=account.api_key,
            allow_private_address=account.allow_private_address,
        )
        routers = self._speaking()
        for router in random.sample(routers, len(routers)):
            try:
                answer = await router.Probe(request, timeout=_DEADLINE_SECONDS, metadata=outgoing())
            except (grpc.aio.AioRpcError, grpc.aio.UsageError):
                continue
            except asyncio.CancelledError:
                # A router that has gone takes its channel with it, which cancels the calls on it, but not us.
                if _is_cancelled():
                    raise
                continue
            return Proof(_RESULTS.get(answer.result, "Failed"), answer.status)
        return Proof("NoRouter")


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@dataclass(slots=True)
class _Course:
    """What is known of one trial, and when it is due again."""

    due: float
    proven: bool
    """It worked when an operator before us tried it, and its status says so."""
    proof: Proof | None = None
    failures: int = 0


class Probing:
    """Keeps the proofs of what is wanted. `wake` is called when one has changed."""

    def __init__(
        self,
        asks: Asks,
        *,
        wake: Callable[[], None],
        again_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asks = asks
        self._wake = wake
        self._again_seconds = again_seconds
        self._monotonic = monotonic
        self._wanted: dict[Trial, Account] = {}
        self._courses: dict[Trial, _Course] = {}
        self._changed = asyncio.Event()
        self._gate = asyncio.Semaphore(_AT_ONCE)

    def proof(self, trial: Trial) -> Proof | None:
        """Return what is known of a credential at its endpoint."""
        course = self._courses.get(trial)
        return course.proof if course is not None else None

    def want(self, wanted: Mapping[Trial, Account], proven: frozenset[Trial]) -> None:
        """Say what should be known from now on. `proven`: what worked lately, by the word of an operator before us."""
        now = self._monotonic()
        for trial in wanted.keys() - self._courses.keys():
            later = random.uniform(0.0, self._again_seconds) if trial in proven else 0.0
            self._courses[trial] = _Course(now + later, trial in proven)
        for trial in self._courses.keys() - wanted.keys():
            del self._courses[trial]
        if wanted.keys() - self._wanted.keys():
            self._changed.set()
        self._wanted = dict(wanted)

    async def run(self) -> None:
        """Try what is due until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                now = self._monotonic()
                for trial, course in self._courses.items():
                    if course.due <= now:
                        course.due = float("inf")
                        group.create_task(self._try(trial, self._wanted[trial], course))
                soonest = min((course.due for course in self._courses.values()), default=float("inf"))
                await self._rest(min(max(soonest - now, 0.01), 60.0))

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _try(self, trial: Trial, account: Account, course: _Course) -> None:
        async with self._gate:
            if trial not in self._courses:
                return
            proof = await self._asks.try_out(account)
        metrics.PROBES.labels(proof.result).inc()
        course.failures = 0 if proof.result in {"Ok", "Unknown"} else course.failures + 1
        course.due = self._monotonic() + self._pause(proof, course.failures)
        self._changed.set()
        news = proof != course.proof and not (course.proven and proof.result == "Ok")
        course.proof, course.proven = proof, False
        if news:
            self._wake()

    def _pause(self, proof: Proof, failures: int) -> float:
        if proof.result in {"Ok", "Unknown"}:
            return self._again_seconds * random.uniform(0.8, 1.0)
        first = _NO_ROUTER_RETRY if proof.result == "NoRouter" else _FIRST_RETRY
        return min(_LONGEST_RETRY, first * 2.0 ** min(failures - 1, 8)) * random.uniform(0.8, 1.0)
