"""The router over a real unix socket: what edges, the operator and the status service see."""

from __future__ import annotations

import asyncio
import logging

import grpc
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from penstock.router.v1 import router_pb2
from penstock_catalog.documents import Capacity
from penstock_router.probing import NOTHING_LEARNED
from penstock_routing import outcomes as o


async def test_a_full_snapshot_first_then_heartbeats(harness, tools):
    edge = await harness.edge(await harness.router(), "s1")
    assert [row.name for row in edge.snapshot.accounts] == ["a", "b", "c"]
    assert edge.snapshot.accounts[0].api_key == f"{tools.SECRET}-a"
    assert edge.snapshot.accounts[0].timeouts.connect_ms == 5000
    assert [row.name for row in edge.snapshot.models] == list(tools.MODELS)
    await tools.until(lambda: edge.heartbeats >= 3)
    assert edge.updates[0] == "snapshot"
    assert edge.snapshots == 1


async def test_nobody_watches_before_a_catalog_is_there(harness):
    (harness.folder / "router.json").unlink()
    service = await harness.router(loaded=False)
    assert service.ready() == (False, "no catalog yet")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async for _ in harness.stub(service).Watch(router_pb2.WatchRequest(edge_session="s1"), wait_for_ready=True):
            pass
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("name", ["", "x" * 201])
async def test_a_session_has_a_name(harness, name):
    stub = harness.stub(await harness.router())
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.Report(router_pb2.ReportRequest(edge_session=name), wait_for_ready=True)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_cooldown_reaches_every_edge_at_once(harness, tools):
    # Nothing that is done from time to time is done while we wait.
    service = await harness.router(sync_seconds=60, heartbeat_seconds=60)
    one, other = await harness.edge(service, "s1"), await harness.edge(service, "s2")
    await one.report(tools.outcome(o.THROTTLED, retry_after_ms=900_000))
    for edge in (one, other):
        await tools.until(edge.cooldown)
        assert getattr(edge.cooldown(), "class") == o.THROTTLED
        assert 800_000 < edge.cooldown().remaining_ms <= 900_000
    third = await harness.edge(service, "s3")
    assert third.cooldown().remaining_ms > 800_000


async def test_a_report_counts_once(harness, tools):
    service = await harness.router()
    edge = await harness.edge(service, "s1")
    row = tools.outcome(o.OVERLOADED)
    await edge.report(row)
    edge.seq -= 1
    answer = await edge.report(tools.outcome(o.OVERLOADED, name="b"))
    assert answer.accepted_seq == 1
    await tools.until(edge.cooldown)
    await asyncio.sleep(0.1)
    assert edge.cooldown("b") is None


async def test_an_unknown_session_is_told_to_watch_again(harness, tools):
    service = await harness.router()
    edge = await harness.edge(service, "s1")
    assert not (await edge.report()).resync
    stranger = type(edge)(edge.stub, "stranger")
    assert (await stranger.report(tools.outcome(o.OVERLOADED))).resync
    await tools.until(edge.cooldown)  # What it says counts all the same.


async def test_a_return_is_one_trial_for_one_edge_then_a_ramp(harness, tools):
    service = await harness.router()
    edges = [await harness.edge(service, f"s{n}") for n in range(3)]
    await edges[1].report(demand={"requests_per_minute": 100, "slots_in_use": 2})
    await edges[0].report(tools.outcome(o.THROTTLED, retry_after_ms=1000))
    await tools.until(lambda: all(edge.cooldown() and edge.cooldown().trial_session for edge in edges))
    assert {edge.cooldown().trial_session for edge in edges} == {"s1"}  # The busy one.
    assert all(edge.cooldown().half_open for edge in edges)

    def percent():
        return edges[2].cooldown().ramp_percent if edges[2].cooldown() else 100

    for number, expected in enumerate((10, 25, 50, 100)):
        before = percent()
        await edges[1].report(tools.outcome(o.BEGUN, request_id=f"t{number}", first_byte_ms=5, trial=number == 0))
        await tools.until(lambda before=before: percent() != before)
        assert percent() == expected


async def test_a_trial_goes_to_the_edge_whose_requests_wait_for_it(harness, tools):
    service = await harness.router()
    edges = [await harness.edge(service, f"s{n}") for n in range(3)]
    for edge in edges[:2]:
        await edge.report(demand={"requests_per_minute": 100})
    await edges[0].report(tools.outcome(o.THROTTLED, retry_after_ms=1000))
    await tools.until(lambda: edges[0].cooldown() and edges[0].cooldown().trial_session)
    assert edges[0].cooldown().trial_session in {"s0", "s1"}
    await edges[2].report(demand={"slots_wanted": 1})
    await tools.until(lambda: edges[0].cooldown().trial_session == "s2", seconds=15.0)
    await edges[2].report(demand={"slots_in_use": 1, "slots_wanted": 1})
    await edges[1].report(demand={"slots_wanted": 1})
    await asyncio.sleep(1.5)
    assert edges[0].cooldown().trial_session == "s2", "its trial is under way"


async def test_a_trial_that_showed_nothing_goes_to_the_next_edge(harness, tools):
    service = await harness.router()
    edges = [await harness.edge(service, f"s{n}") for n in range(2)]
    await edges[0].report(tools.outcome(o.THROTTLED, retry_after_ms=1000))
    await tools.until(lambda: edges[0].cooldown() and edges[0].cooldown().trial_session)
    first = edges[0].cooldown().trial_session
    await edges[0].report(tools.outcome(o.CLIENT_FAULT, request_id="t", trial=True))
    await tools.until(lambda: edges[0].cooldown().trial_session not in {"", first})


async def test_a_new_catalog_reaches_every_edge(harness, tools):
    service = await harness.router()
    edge = await harness.edge(service, "s1")
    await edge.report(tools.outcome(o.OVERLOADED))
    harness.write(tools.catalog(tools.account("a"), tools.account("d", mode="Draining")))
    await tools.until(lambda: edge.snapshots == 2)
    assert [row.name for row in edge.snapshot.accounts] == ["a", "d"]
    assert edge.snapshot.accounts[1].mode == "Draining"
    assert edge.cooldown() is not None  # What is known of an account outlives the catalog.


async def test_of_an_account_that_is_gone_nothing_is_remembered(harness, tools):
    limited = Capacity(max_concurrent_requests=10)
    harness.write(tools.catalog(tools.account("a", limits=limited), tools.account("b", limits=limited)))
    service = await harness.router()
    edge = await harness.edge(service, "s1")
    await tools.until(lambda: edge.slots("a") == edge.slots("b") == 10)
    await edge.report(demand={"slots_wanted": 3, "slots_in_use": 2})
    session = service.router.sessions.get("s1")
    assert set(session.demand) == {"a", "b"}
    harness.write(tools.catalog(tools.account("b", limits=limited)))
    await tools.until(lambda: set(service.router.lending.books) == {"b"})
    assert set(session.demand) == set(session.acknowledged) == set(session.in_flight) == {"b"}
    gauges = (service.metrics.share_slots, service.metrics.share_requests)
    await tools.until(lambda: all({labels[0] for labels in gauge._metrics} == {"b"} for gauge in gauges))
    assert not session.declared


async def test_a_damaged_catalog_changes_nothing(harness, tools):
    service = await harness.router()
    edge = await harness.edge(service, "s1")
    version = edge.snapshot.catalog_version
    (harness.folder / "router.json").write_text("{ not json")
    await tools.until(lambda: service.metrics.catalog_problems._value.get() >= 1)
    assert service.ready() == (True, "")
    assert edge.snapshots == 1
    assert service.router.desired.version == version


class TestShares:
    def limited(self, tools, slots=10):
        return tools.catalog(tools.account("a", limits=Capacity(max_concurrent_requests=slots)), tools.account("b"))

    async def test_one_edge_has_all_in_its_first_snapshot(self, harness, tools):
        harness.write(self.limited(tools))
        edge = await harness.edge(await harness.router(), "s1")
        assert edge.slots() == 10
        assert "b" not in edge.shares

    async def test_two_edges_never_have_more_than_the_limit(self, harness, tools):
        harness.write(self.limited(tools))
        service = await harness.router()
        one = await harness.edge(service, "s1")
        first = one.shares["a"]
        other = await harness.edge(service, "s2")
        await tools.until(lambda: one.shares["a"][0] > first[0])
        assert other.slots() == 0  # Nothing before the first acknowledged.
        await one.report()
        await tools.until(other.slots)
        assert one.slots() + other.slots() <= 10
        assert other.slots() == 5

    async def test_an_edge_that_says_goodbye_frees_its_part(self, harness, tools):
        harness.write(self.limited(tools))
        service = await harness.router()
        one, other = await harness.edge(service, "s1"), await harness.edge(service, "s2")
        await one.report(final=True)
        await one.leave()
        await tools.until(lambda: other.slots() == 10)

    async def test_a_silent_edge_is_dead_after_a_while(self, harness, tools):
        harness.write(self.limited(tools))
        service = await harness.router(session_silent_seconds=0.5)
        one, other = await harness.edge(service, "s1"), await harness.edge(service, "s2")
        assert other.slots() < 10
        begun = asyncio.get_running_loop().time()
        await one.leave()
        await tools.until(lambda: other.slots() == 10)
        assert asyncio.get_running_loop().time() - begun > 0.4

    async def test_a_killed_edges_next_life_has_its_part_at_once(self, harness, tools):
        harness.write(self.limited(tools))
        service = await harness.router()
        old = await harness.edge(service, "s1", "edge-0")
        assert old.slots() == 10
        await old.leave()
        new = await harness.edge(service, "s2", "edge-0")
        await tools.until(lambda: new.slots() == 10)

    async def test_two_edges_that_both_live_under_one_name_are_two(self, harness, tools):
        harness.write(self.limited(tools))
        service = await harness.router()
        one = await harness.edge(service, "s1", "edge")
        await harness.edge(service, "s2", "edge")
        await asyncio.sleep(0.2)
        assert service.router.lending.lent("a")[0] <= 10
        assert one.slots() > 0

    async def test_a_restarted_router_knows_who_has_what(self, harness, tools):
        harness.write(self.limited(tools))
        service = await harness.router()
        one = await harness.edge(service, "s1")
        await one.report()
        await asyncio.sleep(0.1)
        await harness.stop(service)
        service = await harness.router()
        stranger = await harness.edge(service, "new")
        assert stranger.slots() == 0
        back = await harness.edge(
            service,
            "s1",
            shares=[router_pb2.ShareHeld(account="a", version=one.shares["a"][0], share=one.shares["a"][1])],
        )
        await tools.until(lambda: "a" in back.shares and back.slots() == 5)
        await back.report()
        await tools.until(lambda: stranger.slots() == 5)

    async def test_a_router_without_memory_learns_before_it_lends(self, harness, tools):
        harness.write(self.limited(tools))
        begun = asyncio.get_running_loop().time()
        service = await harness.router(run_dir=None, learn_seconds=0.6)
        back = await harness.edge(
            service,
            "s1",
            shares=[
                router_pb2.ShareHeld(
                    account="a",
                    version=77,
                    share=router_pb2.Share(
                        slots=6, requests_per_minute=-1, request_burst=-1, tokens_per_minute=-1, token_burst=-1
                    ),
                )
            ],
        )
        stranger = await harness.edge(service, "s2")
        assert back.slots() <= 6
        await back.report()
        await tools.until(lambda: stranger.slots() > 0)
        assert asyncio.get_running_loop().time() - begun >= 0.6
        assert back.slots() + stranger.slots() <= 10

    async def test_a_limit_that_is_taken_away(self, harness, tools):
        harness.write(self.limited(tools))
        service = await harness.router()
        edge = await harness.edge(service, "s1")
        harness.write(tools.catalog(tools.account("a"), tools.account("b")))
        await tools.until(lambda: edge.slots() == -1)
        harness.write(tools.catalog(tools.account("b")))
        await tools.until(lambda: "a" not in service.router.lending.books)


class TestRestart:
    async def test_cooldowns_are_remembered(self, harness, tools):
        service = await harness.router()
        edge = await harness.edge(service, "s1")
        await edge.report(tools.outcome(o.THROTTLED, retry_after_ms=900_000))
        await tools.until(edge.cooldown)
        await tools.until(lambda: not service.router.conditions.dirty)
        await harness.stop(service)
        again = await harness.edge(await harness.router(), "s1")
        assert 800_000 < again.cooldown().remaining_ms <= 900_000

    async def test_watchers_are_let_go(self, harness, tools):
        service = await harness.router()
        edge = await harness.edge(service, "s1")
        await harness.stop(service)
        async with asyncio.timeout(30):
            await asyncio.wait([edge.task])
        assert service.metrics.watchers._value.get() == 0


class TestExplain:
    async def test_by_alias_and_with_reasons(self, harness, tools):
        service = await harness.router()
        edge = await harness.edge(service, "s1")
        await edge.report(tools.outcome(o.THROTTLED, retry_after_ms=9000))
        answer = await edge.stub.Explain(
            router_pb2.ExplainRequest(model=f"{tools.MODELS[0]}-latest", project="p", affinity=b"p/session")
        )
        rows = {row.account: row for row in answer.candidates}
        assert (rows["a"].eligible, rows["a"].reason, rows["a"].rank) == (False, o.THROTTLED, 0)
        assert sorted(row.rank for row in answer.candidates) == [0, 1, 2]
        assert answer.catalog_version == service.router.desired.version
        assert answer.soonest_ms == 0

    async def test_when_nobody_can(self, harness, tools):
        edge = await harness.edge(await harness.router(), "s1")
        await edge.report(
            *(tools.outcome(o.THROTTLED, name=name, request_id=name, retry_after_ms=900_000) for name in "abc")
        )
        answer = await edge.stub.Explain(router_pb2.ExplainRequest(model=tools.MODELS[0]))
        assert not any(row.eligible for row in answer.candidates)
        assert 800_000 < answer.soonest_ms <= 900_000

    async def test_in_a_storm_it_is_served_at_once(self, harness, tools):
        harness.write(tools.catalog(*(tools.account(name) for name in "abcd")))
        edge = await harness.edge(await harness.router(), "s1")
        await edge.report(*(tools.outcome(o.OVERLOADED, name=name, request_id=name) for name in "abcd"))
        answer = await edge.stub.Explain(router_pb2.ExplainRequest(model=tools.MODELS[0]))
        assert [(row.reason, row.rank) for row in answer.candidates] == [("Storm", rank) for rank in (1, 2, 3, 4)]
        assert answer.soonest_ms == 0

    async def test_unknown_model(self, harness):
        stub = harness.stub(await harness.router())
        answer = await stub.Explain(router_pb2.ExplainRequest(model="nothing"), wait_for_ready=True)
        assert list(answer.candidates) == []


class TestObserved:
    async def test_at_once_and_again_on_change(self, harness, tools):
        service = await harness.router()
        edge = await harness.edge(service, "s1")
        call = edge.stub.WatchObserved(router_pb2.WatchObservedRequest())
        first = await call.read()
        assert {row.name: (row.ready, row.reason) for row in first.accounts} == dict.fromkeys("abc", (True, "Ready"))
        await edge.report(
            tools.outcome(o.CREDENTIAL_INVALID),
            demand={"slots_in_use": 3, "slots_wanted": 5, "requests_per_minute": 60},
            catalog_version="loaded",
        )
        async with asyncio.timeout(30):
            while (second := await call.read()).accounts[0].ready:
                pass
        row = second.accounts[0]
        assert (row.reason, row.in_flight, row.requests_per_minute) == (o.CREDENTIAL_INVALID, 3, 60)
        assert [c.account for c in row.cooldowns] == ["a"]
        assert dict(second.edge_sessions) == {"s1": "loaded"}
        call.cancel()

    async def test_carries_no_credential(self, harness, tools):
        service = await harness.router()
        call = harness.stub(service).WatchObserved(router_pb2.WatchObservedRequest(), wait_for_ready=True)
        assert tools.SECRET not in str(await call.read())
        call.cancel()


class FakeProber:
    """Answers as it is told, and remembers whom it was asked about."""

    def __init__(self, status=200):
        self.answer = status
        self.asked = []

    async def status(self, account):
        self.asked.append((account.name, account.credential_hash))
        await asyncio.sleep(0)
        return self.answer


class TestProbes:
    async def test_a_new_secret_is_tried_and_probed_at_once(self, harness, tools):
        prober = FakeProber()
        service = await harness.router(prober=prober)
        edge = await harness.edge(service, "s1")
        await edge.report(tools.outcome(o.CREDENTIAL_INVALID))
        await tools.until(lambda: edge.cooldown(model=""))
        assert not edge.cooldown(model="").half_open
        harness.write(tools.catalog(tools.account("a", credential_hash="new"), tools.account("b"), tools.account("c")))
        await tools.until(lambda: edge.cooldown(model="") and edge.cooldown(model="").trial_session == "s1")
        assert ("a", "new") in prober.asked

    async def test_a_new_secret_that_is_refused_takes_the_account_out(self, harness, tools):
        service = await harness.router(prober=FakeProber(401))
        edge = await harness.edge(service, "s1")
        harness.write(tools.catalog(tools.account("a", credential_hash="new"), tools.account("b"), tools.account("c")))
        await tools.until(lambda: edge.cooldown(model=""))
        assert getattr(edge.cooldown(model=""), "class") == o.CREDENTIAL_INVALID

    async def test_where_a_probe_teaches_nothing_time_alone_decides(self, harness, tools):
        service = await harness.router(prober=FakeProber(NOTHING_LEARNED))
        edge = await harness.edge(service, "s1")
        long_ago = {"sent_ago_ms": 20_000, "ended_ago_ms": 20_000}  # The first probe is due at once.
        await edge.report(tools.outcome(o.CREDENTIAL_INVALID, **long_ago))
        await tools.until(lambda: edge.cooldown(model="") and edge.cooldown(model="").trial_session == "s1")
        assert service.metrics.probes.labels("a", "unknown")._value.get() == 1
        await edge.report(tools.outcome(o.CREDENTIAL_INVALID, request_id="trial", trial=True))
        await tools.until(lambda: not edge.cooldown(model="").half_open)

    async def test_two_failures_of_one_project_and_a_failed_probe(self, harness, tools):
        prober = FakeProber(0)
        service = await harness.router(prober=prober)
        edge = await harness.edge(service, "s1")
        await edge.report(tools.outcome(o.UNSTABLE, request_id="r1"), tools.outcome(o.UNSTABLE, request_id="r2"))
        await tools.until(edge.cooldown)
        assert getattr(edge.cooldown(), "class") == o.UNSTABLE
        assert service.metrics.probes.labels("a", "failed")._value.get() == 1

    async def test_poison_of_one_project_hurts_no_account(self, harness, tools):
        service = await harness.router(prober=FakeProber(200))
        edge = await harness.edge(service, "s1")
        for number in range(20):
            await edge.report(*(tools.outcome(o.UNSTABLE, name=name, request_id=f"{name}{number}") for name in "abc"))
        await asyncio.sleep(0.2)
        assert edge.cooldowns == {}


class TestProbe:
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (200, router_pb2.PROBE_RESULT_OK),
            (401, router_pb2.PROBE_RESULT_REFUSED),
            (403, router_pb2.PROBE_RESULT_REFUSED),
            (0, router_pb2.PROBE_RESULT_FAILED),
            (500, router_pb2.PROBE_RESULT_FAILED),
            (NOTHING_LEARNED, router_pb2.PROBE_RESULT_UNKNOWN),
        ],
    )
    async def test_says_what_the_provider_says_of_a_credential(self, harness, status, expected):
        service = await harness.router(prober=FakeProber(status))
        answer = await harness.stub(service).Probe(probe("a", "another"), wait_for_ready=True)
        assert (answer.result, answer.status) == (expected, status)

    async def test_one_that_is_not_in_force_changes_nothing(self, harness):
        service = await harness.router(prober=FakeProber(401))
        edge = await harness.edge(service, "s1")
        await edge.stub.Probe(probe("a", "another"))
        await edge.stub.Probe(probe("unheard-of", "another"))
        await asyncio.sleep(0.1)
        assert edge.cooldowns == {}

    async def test_the_one_in_force_is_out_when_it_is_refused(self, harness, tools):
        service = await harness.router(prober=FakeProber(401))
        edge = await harness.edge(service, "s1")
        await edge.stub.Probe(probe("a", f"{tools.SECRET}-a"))
        await tools.until(lambda: edge.cooldown(model=""))
        assert getattr(edge.cooldown(model=""), "class") == o.CREDENTIAL_INVALID

    @pytest.mark.parametrize("lacking", ["account", "base_url", "api_key"])
    async def test_needs_somebody_to_ask(self, harness, lacking):
        request = probe("a", "another")
        request.ClearField(lacking)
        stub = harness.stub(await harness.router(prober=FakeProber()))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Probe(request, wait_for_ready=True)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def probe(account, key):
    return router_pb2.ProbeRequest(account=account, provider="Anthropic", base_url="http://127.0.0.1:1", api_key=key)


async def test_nothing_secret_in_logs_or_metrics(harness, tools, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    service = await harness.router(prober=FakeProber(401))
    edge = await harness.edge(service, "s1")
    await edge.report(tools.outcome(o.CREDENTIAL_INVALID), tools.outcome("Martian", request_id="x"))
    await tools.until(lambda: edge.cooldown(model=""))
    await harness.stop(service)
    shown = capsys.readouterr()
    desired = service.router.desired
    metrics = CollectorRegistry()
    for instrument in vars(service.metrics).values():
        metrics.register(instrument)
    told = "".join(
        [shown.out, shown.err, caplog.text, repr(desired), repr(desired.accounts), generate_latest(metrics).decode()]
    )
    assert "cooldown" in told
    assert 'penstock_router_outcomes_total{account="a",class="Unknown"} 1.0' in told
    assert tools.SECRET not in told
