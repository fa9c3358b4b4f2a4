"""Two edges and auth's own counters: what one side lends and the other spends, held together by the limits."""

from __future__ import annotations

import asyncio
import bisect
import random
import time
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest

from penstock.auth.v1 import auth_pb2
from penstock_auth import translation
from penstock_auth.counters import AllowCall, Declaration, KeyDeclaration, Limit, ProjectHistory, SettleEffect, Unit
from penstock_auth.counters_memory import MemoryCounters
from penstock_edge.admission_policy import AdmissionPolicy
from penstock_edge.records import Admitted, Need
from tests.unit.edge.admitting import Edge
from tests.unit.edge.fake_auth import FakeAuth, facts, running, serving, until


class Truth:
    """SQL's part: who has been recorded, and what is committed."""

    def __init__(self):
        self.sessions = set()
        self.rows = []

    async def unclean_sessions(self):
        return set(self.sessions)

    async def history(self, project):
        return ProjectHistory(rows=list(self.rows))


class RealAuth(FakeAuth):
    """Answers from the memory store; `lossy` loses that part of the answers after the store has done its work."""

    def __init__(self, *limits, max_slots=None, lossy=0.0, seed=1):
        super().__init__()
        self.limits, self.max_slots, self.lossy = limits, max_slots, lossy
        self.rng = random.Random(seed)
        self.truth = Truth()
        self.forget()

    def forget(self):
        """Lose the store."""
        self.store = MemoryCounters(self.truth)
        self.epoch = self.store._epoch.id

    async def _lose(self, context):
        if self.rng.random() < self.lossy:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "lost")

    async def Allow(self, request, context):
        self.allows.append(request)
        call = AllowCall(
            project="acme",
            key="k1",
            session=request.edge_session,
            seq=request.seq,
            kind=translation.kind_of(request.kind),
            need_requests=request.need_requests,
            want_requests=request.want_requests,
            keeping=translation.amounts(request.keeping),
            need=translation.amounts(request.need),
            want=translation.amounts(request.want),
            returned=translation.returns(request.returned),
            epoch=request.epoch,
            limits=self.limits,
            max_slots=self.max_slots,
        )
        await self._lose(context)
        found = await self.store.allow(call)
        await self._lose(context)
        answer = auth_pb2.AllowResponse(
            key=facts(),
            epoch=found.epoch,
            store_time_ms=found.store_time_ms,
            edge_count=found.edges,
            limits=[translation.limit_state(s) for s in found.limits],
        )
        if found.grant is not None:
            answer.allowance.CopyFrom(translation.allowance(found.grant))
        else:
            answer.denial.CopyFrom(translation.denial(found.denial))
        return answer

    async def Declare(self, request, context):
        self.truth.sessions.add(request.edge_session)
        self.declares.append(request)
        keys = tuple(
            KeyDeclaration(
                project="acme",
                key="k1",
                limits=self.limits,
                holding=translation.amounts(k.holding),
                leases=translation.leases_held(k.leases),
                admissions=translation.admissions(k.admissions),
            )
            for k in request.keys
        )
        await self._lose(context)
        heard = await self.store.declare(Declaration(request.edge_session, request.epoch, request.complete, keys))
        await self._lose(context)
        return auth_pb2.DeclareResponse(
            epoch=heard.epoch, store_time_ms=heard.store_time_ms, declare_again=heard.declare_again
        )

    async def settle(self, admitted, session, request_id, tokens):
        effect = SettleEffect(
            project="acme",
            key="k1",
            session=session,
            request_id=request_id,
            admitted_at_ms=admitted.admitted_at_ms,
            input_tokens=tokens,
            output_tokens=0,
            micro_usd=0,
            limits=self.limits,
        )
        await self.store.settle([effect])


@asynccontextmanager
async def edges(auth, tmp_path, n=2):
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(auth, tmp_path / "auth.sock"))
        rows = []
        for i in range(n):
            edge = Edge(tmp_path / "auth.sock", session_id=f"s{i}", policy=AdmissionPolicy())
            stack.push_async_callback(edge.channel.close)
            await stack.enter_async_context(running(*edge.runners()))
            await edge.ready()
            rows.append(edge)
        yield rows


def most_in_any(times, seconds):
    times = sorted(times)
    return max((bisect.bisect_left(times, at + seconds) - i for i, at in enumerate(times)), default=0)


@pytest.mark.parametrize("lossy", [0.0, 0.15])
async def test_a_requests_limit_is_never_passed_and_nearly_used_up(tmp_path, lossy):
    window, amount, rounds = 1.2, 30, 4
    enough = amount * (0.8 if not lossy else 0.4)
    auth = RealAuth(Limit("rpm", Unit.REQUESTS, amount, int(window * 1000)), lossy=lossy)
    taken = []
    async with edges(auth, tmp_path) as pair:
        start = time.monotonic()

        def later():
            # The first window starts full.
            return [at for at in taken if at - start > window]

        def goes_on():
            # A machine that stands still for a while has some windows in which nobody asks: the best one counts.
            return time.monotonic() - start < window * rounds or most_in_any(later(), window) < enough

        async def client(edge, i):
            rng = random.Random(i)
            await asyncio.sleep(rng.random() * 0.1)
            while goes_on():
                answer = await edge.admit(Need(1, 1, 1), seconds=1.0)
                if isinstance(answer, Admitted):
                    taken.append(time.monotonic())
                    await asyncio.sleep(0.005)
                    edge.done(answer)
                await asyncio.sleep(0.02 + rng.random() * 0.04)

        async with asyncio.timeout(30):
            await asyncio.gather(*(client(edge, i) for edge in pair for i in range(6)))
    assert most_in_any(taken, window) <= amount


async def test_slots_are_never_passed_and_wander_between_edges(tmp_path):
    auth = RealAuth(max_slots=10)
    now = most = 0
    served = [0, 0]
    async with edges(auth, tmp_path) as pair:

        async def client(n, i):
            nonlocal now, most
            rng = random.Random(i)
            # The first edge is busy first, then the second: its slots must come over.
            while served[n] < 100:
                if n == 1 and served[0] < 100:
                    await asyncio.sleep(0.02)
                    continue
                answer = await pair[n].admit(Need(1, 1, 1), seconds=1.0)
                if isinstance(answer, Admitted):
                    now += 1
                    most = max(most, now)
                    await asyncio.sleep(0.1 * rng.random())
                    served[n] += 1
                    now -= 1
                    pair[n].admission.ended(answer)
                    await asyncio.sleep(0.02)
                    pair[n].admission.settled(answer, recorded=True)
                else:
                    await asyncio.sleep(0.02)

        async with asyncio.timeout(30):
            await asyncio.gather(*(client(n, i) for n in range(2) for i in range(32)))
    assert most == 10


async def test_tokens_are_never_passed(tmp_path):
    window, amount = 0.9, 1000
    auth = RealAuth(Limit("tpm", Unit.TOTAL_TOKENS, amount, int(window * 1000)), lossy=0.1)
    used = []
    async with edges(auth, tmp_path) as pair:
        start = time.monotonic()

        async def client(edge, i):
            rng = random.Random(i)
            n = 0
            while time.monotonic() - start < window * 3:
                tokens = rng.randrange(10, 90)
                answer = await edge.admit(Need(tokens, 5, 0), seconds=1.0)
                if isinstance(answer, Admitted):
                    used.append((time.monotonic(), tokens))
                    await asyncio.sleep(rng.random() * 0.1)
                    edge.admission.ended(answer)
                    n += 1
                    await auth.settle(answer, edge.session.id, f"{edge.session.id}-{i}-{n}", tokens)
                    edge.admission.settled(answer, recorded=True)
                await asyncio.sleep(0.03)

        await asyncio.gather(*(client(edge, i) for edge in pair for i in range(4)))
    worst = max(sum(t for at, t in used if begin <= at < begin + window) for begin, _ in used)
    assert worst <= amount
    assert sum(t for _, t in used) > amount * 1.5


async def test_a_lost_store_is_rebuilt_from_what_the_edges_declare(tmp_path):
    window, amount = 2.0, 40
    auth = RealAuth(Limit("rpm", Unit.REQUESTS, amount, int(window * 1000)), max_slots=10)
    taken, now, most = [], 0, 0
    async with edges(auth, tmp_path) as pair:
        start = time.monotonic()

        async def client(edge, i):
            nonlocal now, most
            rng = random.Random(i)
            while time.monotonic() - start < 4.5:
                answer = await edge.admit(Need(1, 1, 1), seconds=1.0)
                if isinstance(answer, Admitted):
                    taken.append(time.monotonic())
                    now += 1
                    most = max(most, now)
                    await asyncio.sleep(rng.random() * 0.2)
                    now -= 1
                    edge.done(answer, recorded=False)
                await asyncio.sleep(0.05 + rng.random() * 0.05)

        async def losses():
            for _ in range(5):
                await asyncio.sleep(0.7)
                auth.forget()

        await asyncio.gather(losses(), *(client(edge, i) for edge in pair for i in range(6)))
        await until(lambda: all(edge.session.in_step for edge in pair))
    assert most <= 10
    assert most_in_any(taken, window) <= amount
    assert len(taken) > amount
