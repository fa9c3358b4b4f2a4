"""A limit near which several edges live: it is used up, never exceeded, and nobody starves. In virtual time."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from random import Random

import pytest

from penstock_auth.counters import Amounts, LeaseReturn, Limit, Reason, Unit

RPM = (Limit("per-minute", Unit.REQUESTS, 100, 60_000),)


class Asker:
    """An edge as it works for one key: spends its lease, asks when it is out of it, believes denials while they last."""

    def __init__(self, desk, session: str, transit_ms: int) -> None:
        self.desk = desk
        self.session = session
        self.transit = transit_ms
        self.left = self.spent = self.expires = self.denied_until = 0
        self.lease = ""
        self.beat = 0
        self.asked = 0

    async def request(self, now: int, jitter: int) -> bool:
        """Admit one request at `now`, or not."""
        if now - self.beat >= 5_000:
            self.beat = now
            await self.desk.store.touch_session(self.session)
        if not (self.left and now < self.expires):
            if now < self.denied_until:
                return False
            await self.ask(now, jitter)
            if not self.left:
                return False
        self.left -= 1
        self.spent += 1
        return True

    async def ask(self, now: int, jitter: int) -> None:
        self.asked += 1
        back = (LeaseReturn(self.lease, self.spent),) if self.lease else ()
        self.lease, self.left, self.spent = "", 0, 0
        result = await self.desk.allow(self.session, need_requests=1, want_requests=9, returned=back, limits=RPM)
        if result.grant:
            self.lease, self.left = result.grant.lease_id, result.grant.requests
            self.expires = now - self.transit + result.grant.life_ms
        else:
            self.denied_until = now + result.denial.valid_ms + jitter


@pytest.mark.parametrize("transits", [(1, 1), (1, 40), (1, 1, 20)])
async def test_a_crowded_limit_is_used_and_shared_and_never_exceeded(desk, transits):
    random = Random(7)
    askers = [Asker(desk, f"edge-{i}", transit) for i, transit in enumerate(transits)]
    recent: deque[int] = deque()
    minutes: Counter[int] = Counter()
    shares: Counter[str] = Counter()
    start = desk.clock.now
    for turn in itertools.cycle(range(len(askers))):
        asker = askers[turn]
        desk.clock.pass_ms(random.choice([20, 60, 100]))  # 1,000 per minute
        now = desk.clock.now - start
        if now >= 240_000:
            break
        if await asker.request(desk.clock.now, random.randrange(asker.transit + 1)):
            recent.append(now)
            minutes[now // 60_000] += 1
            shares[asker.session] += 1
            while recent[0] <= now - 60_000:
                recent.popleft()
            assert len(recent) <= 100, now
    assert sum(minutes[m] for m in (1, 2, 3)) >= 3 * 95, minutes
    assert max(shares.values()) <= 2 * min(shares.values()), shares
    assert sum(asker.asked for asker in askers) < 1_500


async def test_the_slower_of_two_edges_does_not_starve(desk):
    """Whoever was refused first gets the next unit, even if the other edge always asks first."""
    for session in ("edge-a", "edge-b"):
        await desk.store.touch_session(session)
    limits = (Limit("per-minute", Unit.REQUESTS, 1, 60_000),)
    got: list[str] = []
    again = {"edge-a": 0, "edge-b": 0}
    start = desk.clock.now
    while len(got) < 8:
        session = min(again, key=lambda name: (again[name], name))
        if again[session] > desk.clock.now - start:
            await desk.pass_ms(again[session] - (desk.clock.now - start))
        result = await desk.allow(session, need_requests=1, limits=limits)
        if result.grant:
            got.append(session)
            again[session] += 1
        else:
            again[session] += result.denial.valid_ms
    assert got == ["edge-a", "edge-b"] * 4


async def test_a_waiting_need_succeeds_as_soon_as_there_is_room(desk):
    lease = (await desk.allow("edge-a", need_requests=100, limits=RPM)).grant
    assert (await desk.allow("edge-b", need_requests=1, limits=RPM)).denial
    await desk.allow("edge-a", returned=(LeaseReturn(lease.lease_id, 99),), limits=RPM)
    assert (await desk.allow("edge-b", need_requests=1, limits=RPM)).grant.requests == 1


async def test_ten_slots_for_sixty_four_streams(desk):
    random = Random(11)
    running: Counter[str] = Counter()
    served = 0
    for session in ("edge-a", "edge-b"):
        await desk.store.touch_session(session)
    for _ in range(600):
        await desk.pass_ms(random.choice([1, 20, 250]))
        session = random.choice(["edge-a", "edge-b"])
        if running[session] and random.random() < 0.4:
            running[session] -= 1
        keeping = Amounts(slots=running[session])
        result = await desk.allow(session, keeping=keeping, need=Amounts(slots=1), max_slots=10)
        if result.grant:
            assert result.grant.holding.slots == running[session] + 1
            running[session] += 1
            served += 1
        else:
            assert result.denial.reason is Reason.CONCURRENCY
        assert running.total() <= 10
    assert running.total() >= 8
    assert served > 100
    assert min(running.values()) >= 2
