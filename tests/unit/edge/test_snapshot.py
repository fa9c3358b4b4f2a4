from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager

from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_chassis import rpc
from penstock_edge import batch_calls
from penstock_edge.observer import Unobserved
from penstock_edge.outcomes import Reporter
from penstock_edge.snapshot import RouterView, allows
from penstock_routing import Hints, Outcome, Pool
from tests.unit.edge.fake_auth import running, serving, until


class FakeRouter(router_pb2_grpc.RouterServiceServicer):
    def __init__(self):
        self.watches = []
        self.streams = set()
        self.heartbeat = 0.05
        self.snapshot = snapshot("v1")
        self.reports = []
        self.report_script = []

    async def Watch(self, request, context):
        self.watches.append(request)
        queue = asyncio.Queue()
        self.streams.add(queue)
        try:
            yield router_pb2.Update(snapshot=self.snapshot)
            while True:
                try:
                    async with asyncio.timeout(self.heartbeat):
                        update = await queue.get()
                except TimeoutError:
                    update = router_pb2.Update(heartbeat=True)
                yield update
        finally:
            self.streams.discard(queue)

    def say(self, **what):
        for queue in self.streams:
            queue.put_nowait(router_pb2.Update(**what))

    async def Report(self, request, context):
        self.reports.append(request)
        step = self.report_script.pop(0) if self.report_script else "ok"
        if step == "down":
            await context.abort(14, "scripted")
        return router_pb2.ReportResponse(accepted_seq=request.seq, resync=step == "resync")


def add(servicer, server):
    router_pb2_grpc.add_RouterServiceServicer_to_server(servicer, server)


def snapshot(version, *accounts, **fields):
    return router_pb2.Snapshot(
        catalog_version=version,
        accounts=accounts or [account("a")],
        models=[
            router_pb2.Model(
                name="claude-x",
                aliases=["claude-x-latest", "claude-y"],
                context_tokens=200_000,
                prices=[
                    router_pb2.Price(digest="old", effective_at_ms=0, input=1),
                    router_pb2.Price(digest="new", effective_at_ms=1000, input=2),
                ],
                upstream_names={"Bedrock": "anthropic.claude-x"},
            ),
            router_pb2.Model(name="claude-y", prices=[router_pb2.Price(digest="late", effective_at_ms=5000)]),
        ],
        **fields,
    )


def account(name):
    return router_pb2.Account(
        name=name,
        provider="Anthropic",
        base_url="http://127.0.0.1:1",
        api_key="secret",
        models=["claude-x"],
        weight=100,
        mode="Active",
        timeouts=router_pb2.Timeouts(connect_ms=250),
    )


def share(slots):
    return router_pb2.Share(slots=slots, requests_per_minute=-1, request_burst=-1, tokens_per_minute=-1, token_burst=-1)


@asynccontextmanager
async def viewing(tmp_path, **options):
    channel = rpc.channel(f"unix:{tmp_path}/router.sock")
    stub = router_pb2_grpc.RouterServiceStub(channel)
    view = RouterView(stub, Pool(), session_id="s1", edge="edge-0", clock=time.monotonic, rng=random.random, **options)
    view.channel = channel
    async with running(view.run()):
        yield view
    await channel.close()


async def test_a_snapshot_makes_ready_and_outlives_the_router(tmp_path):
    router = FakeRouter()
    async with viewing(tmp_path) as view:
        assert not view.ready
        assert view.resolve("claude-x") is None
        async with serving(router, tmp_path / "router.sock", add):
            await until(lambda: view.ready)
            assert view.connected
            assert (router.watches[0].edge_session, router.watches[0].edge) == ("s1", "edge-0")
        await until(lambda: not view.connected)
        assert view.ready
        assert view.catalog_version == "v1"
        model = view.resolve("claude-x")
        assert view.resolve("claude-x-latest") is model
        assert view.resolve("claude-y").name == "claude-y", "a name goes before an alias"
        assert [m.name for m in view.models()] == ["claude-x", "claude-y"]
        assert [m.name for m in view.models_for(["*-y"])] == ["claude-y"]
        assert view.price(model, 999).digest == "old"
        assert view.price(model, 1000).digest == "new"
        assert view.price(view.resolve("claude-y"), 0) is None
        assert model.upstream_names == {"Bedrock": "anthropic.claude-x"}
        facts = view.account("a")
        assert facts.timeouts.connect == 0.25
        assert facts.timeouts.idle > 1
        assert "secret" not in repr(facts)
        assert view.accounts() == ("a",)
        assert view.account("b") is None
        router.snapshot = snapshot("v2", account("b"))
        async with serving(router, tmp_path / "router.sock", add):
            await until(lambda: view.catalog_version == "v2")
            assert view.accounts() == ("b",)


async def test_cooldowns_and_shares_reach_the_pool(tmp_path):
    router = FakeRouter()
    told = []
    async with serving(router, tmp_path / "router.sock", add), viewing(tmp_path) as view:
        await until(lambda: view.ready)
        view.listen(lambda: told.append(1))
        calls = []
        for name in ("set_cooldown", "clear_cooldown"):
            real = getattr(view.pool, name)
            setattr(view.pool, name, lambda *a, _name=name, _real=real: (calls.append((_name, a)), _real(*a)))
        cool = router_pb2.Cooldown(account="a", model="claude-x", remaining_ms=5000, reason="429")
        setattr(cool, "class", "Throttled")
        router.say(cooldowns=router_pb2.CooldownChange(set=[cool]))
        await until(lambda: calls)
        assert calls[0][1][0].remaining_seconds == 5.0
        assert calls[0][1][0].cls == "Throttled"
        router.say(cooldowns=router_pb2.CooldownChange(cleared=[cool]))
        await until(lambda: len(calls) == 2)
        assert calls[1][1][:3] == ("a", "claude-x", "")
        part = router_pb2.AccountShare(account="a", version=3, share=share(7))
        router.say(shares=router_pb2.ShareChange(shares=[part]))
        await until(lambda: view.pool.shares().get("a", (0, None))[0] == 3)
        assert view.pool.shares()["a"][1].slots == 7
        assert told
        view.resync()
        await until(lambda: len(router.watches) == 2)
        assert router.watches[1].shares[0].version == 3
        assert router.watches[1].shares[0].share.slots == 7


async def test_a_silent_router_is_watched_anew(tmp_path):
    router = FakeRouter()
    router.heartbeat = 60
    async with serving(router, tmp_path / "router.sock", add), viewing(tmp_path, silence_seconds=0.15) as view:
        await until(lambda: len(router.watches) >= 2)
        assert view.ready


def test_patterns():
    assert allows(["*"], "x")
    assert allows(["a", "claude-*"], "claude-x")
    assert not allows(["claude-*"], "gpt")
    assert not allows([], "x")


# Reports.


def outcome(i=0, cls="Ok", account="a"):
    now = time.monotonic()
    return Outcome(
        request_id=f"r{i}",
        project="p",
        account=account,
        model="claude-x",
        cls=cls,
        sent_at=now - 0.5,
        ended_at=now,
        tokens=5,
    )


@asynccontextmanager
async def reporting(router, tmp_path, *, run=True, **options):
    async with serving(router, tmp_path / "router.sock", add), viewing(tmp_path) as view:
        await until(lambda: view.ready)
        reporter = Reporter(
            batch_calls.report(view.channel),
            view,
            session_id="s1",
            clock=time.monotonic,
            observer=options.pop("observer", Unobserved()),
            **options,
        )
        reporter.view = view
        async with running(*([reporter.run()] if run else [])):
            yield reporter


def said(router):
    return [o.request_id for r in router.reports for o in r.outcomes]


async def turns_of_reports(tmp_path, count):
    """In which turn of the loop each report of `count` outcomes was sent; the last one says goodbye."""
    turns, sent = 0, []

    async def report(request, timeout):
        sent.append(turns)
        return router_pb2.ReportResponse()

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with reporting(FakeRouter(), tmp_path, run=False) as reporter:
        reporter._call = report
        for i in range(count):
            reporter.outcome(outcome(i))
        async with running(others()):
            assert await reporter.flush(30)
    assert reporter.queued == 0
    return sent


async def test_a_large_report_lets_others_have_their_turn(tmp_path):
    """What is written, and let go of, for hundreds of outcomes must not hold up a request that has just come."""
    sent = await turns_of_reports(tmp_path, 640)
    assert sent[0] >= 640 // 16 - 1
    assert sent[1] - sent[0] >= 640 // 16 - 1


async def test_a_report_takes_fewer_turns_when_many_wait(tmp_path):
    """Where a turn of the loop brings many outcomes, as many must go in it, or the queue would overflow."""
    sent = await turns_of_reports(tmp_path, 2_000 + 4_000)
    assert sent[0] <= 2_000 // 250 + 2


async def test_good_news_waits_for_company_and_bad_news_does_not(tmp_path):
    router = FakeRouter()
    async with reporting(router, tmp_path, max_delay_seconds=2.5, demand_seconds=30) as reporter:
        await until(lambda: router.reports)
        for i in range(10):
            reporter.outcome(outcome(i))
            await asyncio.sleep(0.01)
        assert said(router) == []
        await until(lambda: len(said(router)) == 10)
        assert len(router.reports) == 2
        reporter.outcome(outcome(11))
        start = time.monotonic()
        reporter.outcome(outcome(12, "Overloaded"))
        await until(lambda: len(said(router)) == 12)
        assert time.monotonic() - start < 2.0
        assert said(router)[10] == "r12"
        reporter.outcome(outcome(13), urgent=True)
        await until(lambda: len(said(router)) == 13)
        await until(lambda: reporter.queued == 0)
        row = router.reports[-1].outcomes[0]
        assert (row.duration_ms, row.tokens, row.retry_after_ms, row.first_byte_ms) == (500, 5, -1, -1)
        assert not row.HasField("hints")


async def test_what_one_report_cannot_carry_goes_with_the_next_at_once(tmp_path):
    """An edge may have more outcomes in a moment than a batch holds: they must not gather."""
    router = FakeRouter()
    async with reporting(router, tmp_path, max_delay_seconds=60) as reporter:
        for i in range(4_500):
            reporter.outcome(outcome(str(i)))
        reporter.outcome(outcome("bad", cls="Unstable"))
        await until(lambda: reporter.queued == 0)
    assert len(said(router)) == 4_501


async def test_a_report_is_repeated_with_its_number(tmp_path):
    router = FakeRouter()
    async with reporting(router, tmp_path, demand_seconds=30) as reporter:
        await until(lambda: router.reports)
        router.report_script = ["down", "down"]
        reporter.outcome(outcome(1, "Unstable"))
        await until(lambda: len(router.reports) == 4)
        reporter.outcome(outcome(2, "Unstable"))
        await until(lambda: len(router.reports) == 5)
        assert [r.seq for r in router.reports[1:]] == [2, 2, 2, 3]
        assert said(router) == ["r1", "r1", "r1", "r2"]


def demand(router):
    """What the router was last told of its one account."""
    return [row for report in router.reports for row in report.demand][-1]


async def test_demand_is_told_when_it_changes_and_on_a_new_share(tmp_path):
    router = FakeRouter()
    async with reporting(router, tmp_path, demand_seconds=0.1) as reporter:
        await until(lambda: len(router.reports) >= 3)
        assert router.reports[0].catalog_version == "v1"
        assert (demand(router).account, demand(router).slots_wanted, demand(router).requests_per_minute) == ("a", 0, 0)
        assert [len(report.demand) for report in router.reports[:3]] == [1, 0, 0], "what is known is not said again"
        reporter.waiting("a", 2)
        reporter.waiting("a", -1)
        for i in range(3):
            reporter.outcome(outcome(i))
        await until(lambda: demand(router).requests_per_minute == 3)
        assert (demand(router).slots_wanted, demand(router).tokens_per_minute) == (1, 15)
        reporter.waiting("a", -1)
        part = router_pb2.AccountShare(account="a", version=9, share=share(1))
        router.say(shares=router_pb2.ShareChange(shares=[part]))
        await until(lambda: demand(router).share_version == 9)
        assert demand(router).slots_wanted == 0


async def test_all_demand_is_said_again_on_a_new_stream_and_after_a_report_that_nobody_may_have_heard(tmp_path):
    router = FakeRouter()
    async with reporting(router, tmp_path, demand_seconds=0.05):
        await until(lambda: len(router.reports) >= 2)
        for script in ("resync", "down"):
            router.report_script = [script]
            before = len(router.reports)
            await until(lambda before=before: any(report.demand for report in router.reports[before + 1 :]))


async def test_a_router_that_forgot_us_is_watched_anew(tmp_path):
    router = FakeRouter()
    router.report_script = ["resync"]
    async with reporting(router, tmp_path):
        await until(lambda: len(router.watches) == 2)


async def test_the_queue_is_bounded_and_good_news_goes_first(tmp_path):
    dropped = []

    class Watching(Unobserved):
        def outcomes_dropped(self, amount):
            dropped.append(amount)

    router = FakeRouter()
    async with reporting(router, tmp_path, run=False, observer=Watching(), max_queued=5) as reporter:
        for i in range(4):
            reporter.outcome(outcome(i))
        for i in range(10, 14):
            reporter.outcome(outcome(i, "Unstable"))
        assert sum(dropped) == 3
        for i in range(14, 18):
            reporter.outcome(outcome(i, "Unstable"))
        assert reporter.queued == 5
        router.report_script = ["down"]
        assert await reporter.flush(5)
        assert said(router)[-5:] == ["r13", "r14", "r15", "r16", "r17"]
        assert router.reports[-1].final
        router.report_script = ["down"] * 100
        reporter.outcome(outcome(20))
        assert not await reporter.flush(0.25)


async def test_hints_and_accounts_that_are_gone(tmp_path):
    router = FakeRouter()
    async with reporting(router, tmp_path, run=False) as reporter:
        row = Outcome(
            request_id="r", project="p", account="gone", model="m", retry_after=1.5, hints=Hints(tokens_limit=7)
        )
        reporter.outcome(row)
        assert await reporter.flush(2)
        sent = router.reports[0].outcomes[0]
        assert sent.retry_after_ms == 1500
        assert (sent.hints.tokens_limit, sent.hints.requests_limit) == (7, -1)
        assert reporter._rates == {}
