"""A whole auth over a unix socket, on both databases: what edges, the status service and the command line rely on."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import stat
import tempfile
import time
from pathlib import Path

import grpc
import pytest

from penstock.auth.v1 import admin_pb2, admin_pb2_grpc, auth_pb2, auth_pb2_grpc
from penstock_auth import lending, main, servicer, translation
from penstock_auth.counters import NOTHING, Amounts, StoreDown
from penstock_auth.counters_memory import MemoryCounters
from penstock_auth.errors import DatabaseDown
from penstock_auth.settings import AuthSettings
from penstock_catalog.documents import AuthCatalog, DeclaredKey, Model, Plan, PlanLimit, write
from penstock_chassis.process import StartError
from penstock_chassis.rpc import channel
from penstock_chassis.secret import Secret
from penstock_edge.admission_policy import AdmissionPolicy
from tests.contract.ledger.books import PRICE

PLAN = Plan(name="team", limits=(PlanLimit(name="per-minute", unit="Requests", amount=600, window_ms=60_000),))
PREPAID = Plan(
    name="prepaid", credit="Required", on_store_outage="Degraded", over_budget="Strict", max_keys_per_project=2
)
MODEL = Model(name="claude-x", context_tokens=1000, max_output_tokens=100, prices=(PRICE,))


def catalog(*keys: DeclaredKey, plans=(PLAN, PREPAID)) -> AuthCatalog:
    return AuthCatalog(plans=plans, api_keys=keys, models=(MODEL,)).sealed()


class FlakyCounters(MemoryCounters):
    """Counters that can be told to be down, or frozen."""

    down = False

    def __init__(self, truth):
        super().__init__(truth)
        self.calls = []

    async def allow(self, call):
        self.calls.append(call)
        if self.down:
            raise StoreDown("told to")
        return await super().allow(call)

    async def settle(self, effects):
        if self.down:
            raise StoreDown("told to")
        return await super().settle(effects)


class Service:
    """An auth of our own with stubs for it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.settings = AuthSettings(
            address=f"unix:{folder}/auth.sock",
            catalog_path=folder / "auth.json",
            database_url=Secret(database_url),
            # Other tests may keep this machine busy.
            database_deadline_seconds=20.0,
            database_lock_wait_seconds=0.2,
        )
        self.auth: main.Auth
        self.seqs: dict[bytes, int] = {}

    async def start(self) -> None:
        self.auth = main.Auth(self.settings)
        self.channel = channel(self.settings.address)
        await self.auth.start()
        self.edge = auth_pb2_grpc.AuthServiceStub(self.channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)
        heard = await self.declare()
        self.epoch = heard.epoch

    async def declare(self, session="edge-1", **more):
        heard = await self.edge.Declare(auth_pb2.DeclareRequest(edge_session=session, edge="edge-0", **more))
        if heard.declare_again and not more:
            heard = await self.edge.Declare(
                auth_pb2.DeclareRequest(edge_session=session, edge="edge-0", epoch=heard.epoch, complete=True)
            )
        return heard

    async def stop(self) -> None:
        await self.channel.close()
        await self.auth.drain(1)

    async def create_key(self, project="demo", plan="team", **more):
        made = await self.admin.CreateKey(admin_pb2.CreateKeyRequest(project=project, plan=plan, actor="test", **more))
        return made.key, hashlib.sha256(made.secret.encode()).digest()

    async def allow(self, digest: bytes, **more):
        seq = self.seqs[digest] = self.seqs.get(digest, 0) + 1
        wish = {"need_requests": 1, "want_requests": 1, "need": auth_pb2.Holding(slots=1), "kind": 1} | more
        return await self.edge.Allow(
            auth_pb2.AllowRequest(edge_session="edge-1", seq=seq, key_sha256=digest, epoch=self.epoch, **wish)
        )

    async def settle(self, *made):
        return (await self.edge.Settle(auth_pb2.SettleRequest(edge_session="edge-1", settlements=made))).results

    def settlement(self, key, request_id="req_1", **more):
        facts = {
            "request_id": request_id,
            "edge_session": "edge-1",
            "key_id": key.id,
            "project": key.project,
            "model": "claude-x",
            "dialect": "anthropic",
            "price_digest": PRICE.digest,
            "price_multiplier_ppm": 1_000_000,
            "admitted_at_ms": time.time_ns() // 1_000_000,
            "started_at_ms": 1000,
            "ended_at_ms": 1400,
            "state": auth_pb2.DELIVERY_STATE_COMPLETE,
            "delivered": 1,
            "attempts": [self.attempt(0, account="a", status=529, **{"class": "Overloaded"}), self.attempt(1)],
            "client_status": 200,
        }
        return auth_pb2.Settlement(**(facts | more))

    def attempt(self, index, usage=None, **more):
        facts = {"account": "b", "class": "Ok", "status": 200, "reported": True, "upstream_request_id": "up"}
        used = usage or auth_pb2.Usage(input_tokens=1000 if index else 0, output_tokens=100 if index else 0)
        return auth_pb2.Attempt(index=index, usage=used, **(facts | more))


@pytest.fixture
async def service(database_url, monkeypatch):
    made: list[FlakyCounters] = []

    def counters(settings, truth):
        made.append(FlakyCounters(truth))
        return made[-1]

    monkeypatch.setattr(main, "_counters", counters)
    with tempfile.TemporaryDirectory(prefix="penstock-auth-") as folder:
        service = Service(Path(folder), database_url)
        service.made = made
        write(service.settings.catalog_path, catalog())
        try:
            await service.start()
            yield service
        finally:
            await service.stop()


async def refused(call, code):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    assert error.value.code() is code, error.value
    return error.value.details()


async def test_a_request_from_key_to_row(service):
    key, digest = await service.create_key(name="ci")
    assert (key.state, key.source, key.plan, key.name) == ("Active", "SelfService", "team", "ci")
    answer = await service.allow(digest)
    assert answer.allowance.requests == 1
    assert answer.allowance.holding.slots == 1
    assert answer.key.key_id == key.id
    assert (answer.key.price_multiplier_ppm, answer.key.on_store_outage) == (1_000_000, "Closed")
    assert answer.limits[0].name == "per-minute"
    assert answer.edge_count == 1
    (result,) = await service.settle(service.settlement(key))
    assert (result.committed, result.cost_micro, result.quarantined) == (True, 4500, "")
    row = (await service.edge.GetUsage(auth_pb2.GetUsageRequest(request_id="req_1", key_sha256=digest))).row
    assert (row.account, row.state, row.cost_micro, row.duration_ms) == ("b", "complete", 4500, 400)
    assert [(each.attempt.status, each.cost_micro) for each in row.attempts] == [(529, 0), (200, 4500)]
    assert getattr(row.attempts[0].attempt, "class") == "Overloaded"
    shown = await service.admin.ShowUsage(admin_pb2.ShowUsageRequest(request_id="req_1"))
    assert shown == row
    listed = await service.admin.ListUsage(admin_pb2.ListUsageRequest(project="demo"))
    assert list(listed.rows) == [row]
    sums = await service.admin.SummarizeUsage(admin_pb2.SummarizeUsageRequest(project="demo"))
    assert (sums.requests, sums.usage.input_tokens, sums.cost_micro) == (1, 1000, 4500)
    assert (await service.admin.GetKey(admin_pb2.GetKeyRequest(id=key.id))).spent_micro == 4500


async def test_a_socket_for_its_owner_only(service):
    assert stat.S_IMODE((service.folder / "auth.sock").stat().st_mode) == 0o600
    assert service.auth.ready() == (True, "")


async def test_the_loop_turns_often_while_a_large_batch_is_settled(service, monkeypatch):
    """Whoever asks meanwhile to be lent something waits for a stretch of the batch, not for all of it."""
    key, _ = await service.create_key()
    counters, honest = service.made[0], translation.incoming
    read: list[str] = []
    monkeypatch.setattr(translation, "incoming", lambda message: read.append(message.request_id) or honest(message))
    turns = []

    async def watch():
        while True:
            turns.append((len(read), len(counters._settled)))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    results = await service.settle(*(service.settlement(key, f"req_{number}") for number in range(1000)))
    watching.cancel()
    assert all(result.committed for result in results)
    assert (len(read), len(counters._settled)) == (1000, 1000)
    for before, after in itertools.pairwise(turns):
        assert after[0] - before[0] <= 64
        assert after[1] - before[1] <= 256


async def test_rows_are_for_their_own_project(service):
    key, _ = await service.create_key()
    _, stranger = await service.create_key(project="other")
    await service.settle(service.settlement(key))
    for digest in (stranger, b"?" * 32):
        ask = auth_pb2.GetUsageRequest(request_id="req_1", key_sha256=digest)
        await refused(service.edge.GetUsage(ask), grpc.StatusCode.NOT_FOUND)
    await refused(service.admin.ShowUsage(admin_pb2.ShowUsageRequest(request_id="req_2")), grpc.StatusCode.NOT_FOUND)


async def test_denials_without_counters(service):
    unknown = await service.allow(b"?" * 32)
    assert unknown.denial.reason == auth_pb2.DENIAL_REASON_UNKNOWN_KEY
    assert unknown.denial.valid_ms == 5000
    assert not unknown.HasField("key")
    key, digest = await service.create_key()
    await service.admin.DisableKey(admin_pb2.DisableKeyRequest(id=key.id, actor="t"))
    disabled = await service.allow(digest)
    assert disabled.denial.reason == auth_pb2.DENIAL_REASON_DISABLED
    assert disabled.key.key_id == key.id
    soon = time.time_ns() // 1_000_000 + 1500
    _, digest = await service.create_key(expires_at_ms=soon)
    assert (await service.allow(digest)).key.expires_at_ms == soon
    await until(lambda: service.allow(digest), lambda a: a.denial.reason == auth_pb2.DENIAL_REASON_EXPIRED)
    assert time.time_ns() // 1_000_000 >= soon


async def test_what_a_disabled_key_gives_back_is_taken_in(service):
    key, digest = await service.create_key()
    await service.allow(digest, need=auth_pb2.Holding(slots=64))
    await service.admin.DisableKey(admin_pb2.DisableKeyRequest(id=key.id))
    await service.allow(digest, keeping=auth_pb2.Holding(slots=3), want=auth_pb2.Holding(slots=9))
    call = service.made[0].calls[-1]
    assert call.keeping == Amounts(slots=3)
    assert (call.need_requests, call.want_requests, call.need, call.want) == (0, 0, NOTHING, NOTHING)


async def test_credit_decides_for_prepaid_plans(service):
    key, digest = await service.create_key(project="paid", plan="prepaid")
    need = auth_pb2.Holding(slots=1, micro_usd=5000)
    denied = await service.allow(digest, need=need)
    assert denied.denial.reason == auth_pb2.DENIAL_REASON_CREDIT
    assert denied.key.credit_required
    add = admin_pb2.AddCreditRequest(project="paid", amount_micro=9000, idempotency_key="i", actor="t")
    entry = await service.admin.AddCredit(add)
    assert (entry.kind, entry.balance_micro) == ("topup", 9000)
    assert (await service.admin.AddCredit(add)) == entry
    lent = await service.allow(digest, need=need)
    assert lent.allowance.holding.micro_usd >= 5000
    (result,) = await service.settle(service.settlement(key))
    assert result.cost_micro == 4500
    again = await service.allow(digest, need=need)
    assert again.denial.reason == auth_pb2.DENIAL_REASON_CREDIT
    listed = await service.admin.ListCredit(admin_pb2.ListCreditRequest(project="paid"))
    assert (listed.balance_micro, [each.kind for each in listed.entries]) == (4500, ["charge", "topup"])


async def test_a_keys_own_spend_limit(service):
    key, digest = await service.create_key(spend_limit_micro=6000, spend_limit_period="Month")
    need = auth_pb2.Holding(slots=1, micro_usd=5000)
    assert (await service.allow(digest, need=need)).HasField("allowance")
    await service.settle(service.settlement(key))
    denied = await service.allow(digest, need=need)
    assert denied.denial.reason == auth_pb2.DENIAL_REASON_SPEND_LIMIT


@pytest.mark.parametrize("period", ["Total", "Month"])
async def test_a_spend_limit_holds_when_a_clock_was_put_forward_and_back(service, monkeypatch, period):
    key, digest = await service.create_key(spend_limit_micro=6000, spend_limit_period=period)
    need = auth_pb2.Holding(slots=1, micro_usd=5000)
    ahead = [40 * 86_400_000]
    honest = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: honest() + ahead[0] * 1_000_000)
    assert (await service.allow(digest, need=need)).HasField("allowance")
    ahead[0] = 0
    await service.settle(service.settlement(key), service.settlement(key, "req_2"))
    denied = await service.allow(digest, need=need)
    assert denied.denial.reason == auth_pb2.DENIAL_REASON_SPEND_LIMIT


async def test_store_down_is_an_answer_that_says_what_the_plan_wants(service):
    key, digest = await service.create_key(plan="prepaid", project="paid")
    service.made[0].down = True
    answer = await service.allow(digest)
    assert answer.denial.reason == auth_pb2.DENIAL_REASON_STORE_DOWN
    assert answer.key.on_store_outage == "Degraded"
    details = await refused(
        service.edge.Settle(auth_pb2.SettleRequest(settlements=[service.settlement(key)])), grpc.StatusCode.UNAVAILABLE
    )
    assert details.startswith("store_down:")
    # The row stands, unacknowledged; the repetition is answered from it.
    assert (await service.admin.ShowUsage(admin_pb2.ShowUsageRequest(request_id="req_1"))).cost_micro == 4500
    service.made[0].down = False
    (result,) = await service.settle(service.settlement(key))
    assert (result.committed, result.cost_micro) == (True, 4500)
    assert (await service.admin.ListCredit(admin_pb2.ListCreditRequest(project="paid"))).balance_micro == -4500


async def test_poison_and_repeats_in_one_batch(service):
    key, _ = await service.create_key()
    good = service.settlement(key)
    odd = service.settlement(key, "odd", state=auth_pb2.DELIVERY_STATE_UNSPECIFIED)
    poison = service.settlement(key, "poison", delivered=7)
    results = await service.settle(good, odd, poison, good)
    assert [(each.request_id, each.committed) for each in results] == [
        ("req_1", True),
        ("odd", False),
        ("poison", False),
        ("req_1", True),
    ]
    assert results[1].quarantined.startswith("malformed: ")
    assert results[2].quarantined.startswith("delivered_range: ")
    assert await service.settle() == []


async def test_an_unknown_price_is_neither_committed_nor_quarantined_at_first(service):
    key, _ = await service.create_key()
    (result,) = await service.settle(service.settlement(key, price_digest="f" * 16))
    assert (result.committed, result.quarantined) == (False, "")


async def test_a_price_outlives_the_catalog(service):
    key, _ = await service.create_key()
    write(service.settings.catalog_path, AuthCatalog(plans=(PLAN,)).sealed())
    await until(lambda: service.admin.ListPlans(admin_pb2.ListPlansRequest()), lambda plans: len(plans.plans) == 1)
    (result,) = await service.settle(service.settlement(key))
    assert result.cost_micro == 4500


async def next_change(stream):
    async with asyncio.timeout(30):
        while (change := await stream.read()).heartbeat:
            pass
    return change


async def until(ask, true, seconds=30.0):
    async with asyncio.timeout(seconds):
        while not true(answer := await ask()):
            await asyncio.sleep(0.02)
    return answer


async def test_changes_reach_edges_at_once(service):
    key, digest = await service.create_key()
    stream = service.edge.WatchChanges(auth_pb2.WatchChangesRequest(edge_session="edge-1"))
    first = await stream.read()
    assert first.heartbeat
    assert first.epoch == service.epoch
    await service.admin.DisableKey(admin_pb2.DisableKeyRequest(id=key.id))
    change = await next_change(stream)
    assert (change.seq, change.key_sha256) == (first.seq + 1, digest)
    await service.admin.AddCredit(admin_pb2.AddCreditRequest(project="demo", amount_micro=5))
    while not (change := await next_change(stream)).project:  # PostgreSQL's log tells of the key once more.
        assert change.key_sha256 == digest
    assert change.project == "demo"
    changed = PLAN.model_copy(update={"max_concurrent_requests": 3})
    declared = DeclaredKey(name="ci", id="d1", prefix="psk_d1", digest="0d" * 32, project="git", plan="team")
    write(service.settings.catalog_path, catalog(declared, plans=(changed, PREPAID)))
    # Whoever looks again tells again: what counts is that both are told.
    told = set()
    async with asyncio.timeout(30):
        while not {"team", bytes.fromhex("0d" * 32)} <= told:
            change = await stream.read()
            told |= {change.plan, change.key_sha256}
    answer = await service.allow(bytes.fromhex("0d" * 32))
    assert (answer.key.project, answer.key.max_concurrent_requests) == ("git", 3)
    await refused(service.admin.DisableKey(admin_pb2.DisableKeyRequest(id="d1")), grpc.StatusCode.FAILED_PRECONDITION)
    write(service.settings.catalog_path, catalog())
    async with asyncio.timeout(30):
        while (await service.allow(bytes.fromhex("0d" * 32))).denial.reason != auth_pb2.DENIAL_REASON_DISABLED:
            await asyncio.sleep(0.05)
    assert {key.id: key.state for key in (await service.admin.ListKeys(admin_pb2.ListKeysRequest())).keys}[
        "d1"
    ] == "Disabled"
    stream.cancel()


async def test_a_plan_that_left_the_catalog(service):
    _, digest = await service.create_key()
    write(service.settings.catalog_path, catalog(plans=(PREPAID,)))
    await until(lambda: service.allow(digest), lambda a: a.denial.reason == auth_pb2.DENIAL_REASON_PLAN_MISSING)


async def test_a_broken_catalog_changes_nothing(service):
    service.settings.catalog_path.write_text("{")
    await asyncio.sleep(0.5)
    assert len((await service.admin.ListPlans(admin_pb2.ListPlansRequest())).plans) == 2


async def test_observed_says_who_has_loaded_what(service):
    _, digest = await service.create_key()
    await service.allow(digest, catalog_version="v7")
    stream = service.edge.WatchObserved(auth_pb2.WatchObservedRequest())
    async with asyncio.timeout(30):
        while (seen := await stream.read()).edge_sessions.get("edge-1") != "v7":
            pass
    assert seen.catalog_version == catalog().version
    assert seen.epoch == service.epoch
    await service.declare(final=True)
    async with asyncio.timeout(30):
        while "edge-1" in (await stream.read()).edge_sessions:
            pass
    stream.cancel()


async def test_observed_leaves_out_edges_that_speak_to_another_auth(service, monkeypatch):
    _, digest = await service.create_key()
    await service.allow(digest, catalog_version="v7")
    stream = service.edge.WatchObserved(auth_pb2.WatchObservedRequest())
    async with asyncio.timeout(30):
        while (await stream.read()).edge_sessions.get("edge-1") != "v7":
            pass
        monkeypatch.setattr(servicer, "_SPEAKS_HERE_MS", 0)
        while "edge-1" in (await stream.read()).edge_sessions:
            pass
    stream.cancel()


async def test_an_edge_hears_whether_its_stream_of_changes_is_here(service):
    _, digest = await service.create_key()
    assert (await service.allow(digest)).watch_anew
    assert (await service.declare()).watch_anew
    stream = service.edge.WatchChanges(auth_pb2.WatchChangesRequest(edge_session="edge-1"))
    await stream.read()
    assert not (await service.allow(digest)).watch_anew
    assert not (await service.declare()).watch_anew
    assert (await service.declare("edge-2")).watch_anew, "that is another edge's"
    stream.cancel()
    async with asyncio.timeout(30):
        while not (await service.declare()).watch_anew:
            await asyncio.sleep(0.02)
    assert not (await service.declare(final=True)).watch_anew


async def test_a_session_declares_what_it_has(service):
    _, digest = await service.create_key()
    heard = await service.declare("edge-2")
    held = auth_pb2.KeyDeclaration(
        key_sha256=digest,
        holding=auth_pb2.Holding(slots=2),
        leases=[auth_pb2.LeaseHeld(lease_id="l", kind=1, unspent=3, expires_in_ms=100)],
        admissions=[auth_pb2.Admission(admitted_at_ms=heard.store_time_ms, kind=1, requests=2)],
    )
    lost = auth_pb2.KeyDeclaration(key_sha256=b"?" * 32)
    again = await service.declare("edge-3", epoch=heard.epoch, complete=True, keys=[held, lost])
    assert not again.declare_again
    ended = await service.declare("edge-3", final=True)
    assert ended.epoch == heard.epoch


async def test_a_declaration_of_many_keys_is_one_question_to_sql(service, monkeypatch):
    digests = [(await service.create_key())[1] for _ in range(20)]
    heard = await service.declare("edge-2")
    told = [auth_pb2.KeyDeclaration(key_sha256=digest, holding=auth_pb2.Holding(slots=1)) for digest in digests]
    reader, asked = service.auth._database._reader, []
    run = reader.run
    monkeypatch.setattr(reader, "run", lambda work, *more, **named: asked.append(work) or run(work, *more, **named))
    await service.declare("edge-3", epoch=heard.epoch, complete=True, keys=told)
    assert len([work for work in asked if "find" in work.__qualname__]) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"edge_session": ""},
        {"edge_session": "s" * 200},
        {"key_sha256": b"short"},
        {"need_requests": -1},
        {"keeping": auth_pb2.Holding(slots=-1)},
        {"keeping": auth_pb2.Holding(micro_usd=2**62)},
        {"want": auth_pb2.Holding(output_tokens=2**53 + 1)},
        {"kind": 9},
        {"returned": [auth_pb2.LeaseReturn(lease_id="x", spent=-1)]},
    ],
)
async def test_calls_that_make_no_sense(service, wrong):
    _, digest = await service.create_key()
    facts = {"edge_session": "edge-1", "seq": 1, "key_sha256": digest, "need_requests": 1}
    call = service.edge.Allow(auth_pb2.AllowRequest(**(facts | wrong)))
    assert await refused(call, grpc.StatusCode.INVALID_ARGUMENT)


async def test_an_outdated_seq(service):
    _, digest = await service.create_key()
    for _ in range(3):
        await service.allow(digest)
    stale = auth_pb2.AllowRequest(edge_session="edge-1", seq=1, key_sha256=digest, kind=1, epoch=service.epoch)
    await refused(service.edge.Allow(stale), grpc.StatusCode.FAILED_PRECONDITION)


async def test_administration(service):
    project = await service.admin.CreateProject(admin_pb2.CreateProjectRequest(name="p1", actor="me"))
    assert (project.name, project.balance_micro) == ("p1", 0)
    assert await service.admin.CreateProject(admin_pb2.CreateProjectRequest(name="p1")) == project
    bad = admin_pb2.CreateProjectRequest(name="not a name")
    assert "1 to 63" in await refused(service.admin.CreateProject(bad), grpc.StatusCode.INVALID_ARGUMENT)
    no_plan = admin_pb2.CreateKeyRequest(project="p1", plan="none")
    assert "no plan 'none'" in await refused(service.admin.CreateKey(no_plan), grpc.StatusCode.NOT_FOUND)
    key, _ = await service.create_key("p1", "prepaid")
    made = await service.admin.RotateKey(admin_pb2.RotateKeyRequest(id=key.id, overlap_seconds=60, actor="me"))
    assert made.secret.startswith(made.key.prefix)
    assert made.key.plan == "prepaid"
    second, _ = await service.create_key("p1", "prepaid")
    full = admin_pb2.CreateKeyRequest(project="p1", plan="prepaid")
    await refused(service.admin.CreateKey(full), grpc.StatusCode.RESOURCE_EXHAUSTED)
    keys = (await service.admin.ListKeys(admin_pb2.ListKeysRequest(project="p1"))).keys
    assert {each.id for each in keys} == {key.id, made.key.id, second.id}
    assert {each.name for each in (await service.admin.ListProjects(admin_pb2.ListProjectsRequest())).projects} == {
        "p1"
    }
    acts = (await service.admin.ListAudit(admin_pb2.ListAuditRequest(limit=5))).entries
    assert [(each.actor, each.action) for each in acts] == [
        ("test", "key.create"),
        ("me", "key.rotate"),
        ("test", "key.create"),
        ("me", "project.create"),
    ]
    plans = (await service.admin.ListPlans(admin_pb2.ListPlansRequest())).plans
    assert [(plan.name, plan.credit, plan.price_multiplier) for plan in plans] == [
        ("prepaid", "Required", "1.00"),
        ("team", "NotRequired", "1.00"),
    ]
    assert (plans[1].limits[0].window_seconds, plans[1].limits[0].scope) == (60, "Key")
    for call in (
        service.admin.GetKey(admin_pb2.GetKeyRequest(id="none")),
        service.admin.ListCredit(admin_pb2.ListCreditRequest(project="none")),
        service.admin.ListKeys(admin_pb2.ListKeysRequest(project="none")),
        service.admin.ListUsage(admin_pb2.ListUsageRequest(project="none")),
        service.admin.SummarizeUsage(admin_pb2.SummarizeUsageRequest(project="none")),
        service.admin.ListKeys(admin_pb2.ListKeysRequest(project="\U0001f600" * 20_000)),
    ):
        await refused(call, grpc.StatusCode.NOT_FOUND)
    for call in (
        service.admin.GetKey(admin_pb2.GetKeyRequest(id="a\0")),
        service.admin.ListKeys(admin_pb2.ListKeysRequest(project="a\0")),
        service.admin.ListUsage(admin_pb2.ListUsageRequest(page_token="nonsense")),
        service.admin.ListUsage(admin_pb2.ListUsageRequest(state="finished")),
        service.admin.SummarizeUsage(admin_pb2.SummarizeUsageRequest(project="p1", until_ms=-1)),
        service.edge.WatchChanges(auth_pb2.WatchChangesRequest()).read(),
    ):
        await refused(call, grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_rotation_opens_no_new_window(service):
    few = Plan(name="few", limits=(PlanLimit(name="few", unit="Requests", amount=2, window_ms=60_000),))
    write(service.settings.catalog_path, catalog(plans=(few,)))
    await until(lambda: service.admin.ListPlans(admin_pb2.ListPlansRequest()), lambda plans: len(plans.plans) == 1)
    key, digest = await service.create_key(plan="few")
    assert (await service.allow(digest, need_requests=2)).HasField("allowance")
    made = await service.admin.RotateKey(admin_pb2.RotateKeyRequest(id=key.id, overlap_seconds=60))
    denied = await service.allow(hashlib.sha256(made.secret.encode()).digest())
    assert denied.denial.reason == auth_pb2.DENIAL_REASON_REQUESTS


async def test_the_text_of_a_rotated_key_is_given_though_sql_goes_away_after_the_rotation(service, monkeypatch):
    key, _ = await service.create_key()
    await service.settle(service.settlement(key))

    async def down(*_, **__):
        raise DatabaseDown("it did not answer")

    monkeypatch.setattr(service.auth._database._reader, "run", down)
    made = await service.admin.RotateKey(admin_pb2.RotateKeyRequest(id=key.id))
    assert made.secret.startswith(made.key.prefix)
    assert made.key.spent_micro == 4500


async def test_a_bug_says_nothing_of_what_it_was_about(service, monkeypatch):
    monkeypatch.setattr(main.Administration, "get_key", lambda *_: 1 / 0)
    details = await refused(service.admin.GetKey(admin_pb2.GetKeyRequest(id="x")), grpc.StatusCode.INTERNAL)
    assert details == "auth failed at this; its log says more"


async def test_sql_down_is_said_and_nothing_is_acknowledged(service, monkeypatch):
    key, digest = await service.create_key()
    await service.allow(digest)

    async def down(*_, **__):
        raise DatabaseDown("it did not answer")

    monkeypatch.setattr(service.auth._database._writer, "run", down)
    monkeypatch.setattr(service.auth._database._reader, "run", down)
    batch = auth_pb2.SettleRequest(settlements=[service.settlement(key)])
    details = await refused(service.edge.Settle(batch), grpc.StatusCode.UNAVAILABLE)
    assert details == "database_down: it did not answer; try again"
    await refused(service.admin.ListProjects(admin_pb2.ListProjectsRequest()), grpc.StatusCode.UNAVAILABLE)
    # A key that is known goes on; one whose money must be looked up, or that is new here, does not.
    assert (await service.allow(digest)).HasField("allowance")
    ask = auth_pb2.AllowRequest(edge_session="edge-1", seq=1, key_sha256=b"!" * 32, epoch=service.epoch)
    await refused(service.edge.Allow(ask), grpc.StatusCode.UNAVAILABLE)


def test_a_declaration_takes_all_keys_that_an_edge_may_hold_something_of():
    assert 2 * AdmissionPolicy().max_keys <= servicer._MOST_KEYS


async def test_while_the_store_is_down_no_plan_lets_a_revoked_key_go_on(service):
    key, digest = await service.create_key(plan="prepaid", project="paid")
    await service.admin.DisableKey(admin_pb2.DisableKeyRequest(id=key.id, actor="t"))
    service.made[0].down = True
    answer = await service.allow(digest)
    assert answer.denial.reason == auth_pb2.DENIAL_REASON_STORE_DOWN
    assert answer.key.on_store_outage == "Closed"
    service.made[0].down = False
    assert (await service.allow(digest)).denial.reason == auth_pb2.DENIAL_REASON_DISABLED


async def test_a_frozen_store_is_a_down_one(service, monkeypatch):
    key, digest = await service.create_key()

    async def frozen(*_):
        await asyncio.sleep(60)

    monkeypatch.setattr(servicer, "_STORE_SECONDS", 0.05)
    monkeypatch.setattr(lending, "_STORE_SECONDS", 0.05)
    monkeypatch.setattr(MemoryCounters, "allow", frozen)
    monkeypatch.setattr(MemoryCounters, "settle", frozen)
    assert (await service.allow(digest)).denial.reason == auth_pb2.DENIAL_REASON_STORE_DOWN
    batch = auth_pb2.SettleRequest(settlements=[service.settlement(key)])
    assert (await refused(service.edge.Settle(batch), grpc.StatusCode.UNAVAILABLE)).startswith("store_down")


async def test_batches_have_a_bound(service):
    batch = auth_pb2.SettleRequest(settlements=[auth_pb2.Settlement()] * 10_001)
    assert "send fewer" in await refused(service.edge.Settle(batch), grpc.StatusCode.INVALID_ARGUMENT)
    declared = [auth_pb2.KeyDeclaration()] * 50_001
    declare = auth_pb2.DeclareRequest(edge_session="e", complete=True, keys=declared)
    assert "at most" in await refused(service.edge.Declare(declare), grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_restart_loses_nothing(service):
    key, digest = await service.create_key()
    await service.settle(service.settlement(key))
    await service.stop()
    assert not (service.folder / "auth.sock").exists()
    await service.start()
    row = await service.edge.GetUsage(auth_pb2.GetUsageRequest(request_id="req_1", key_sha256=digest))
    assert row.row.cost_micro == 4500
    (result,) = await service.settle(service.settlement(key))
    assert result.committed
    assert (await service.admin.SummarizeUsage(admin_pb2.SummarizeUsageRequest(project="demo"))).requests == 1
    assert len(service.made) == 2


async def test_open_streams_do_not_hold_up_the_end(service):
    streams = [
        service.edge.WatchChanges(auth_pb2.WatchChangesRequest(edge_session="edge-1")),
        service.edge.WatchObserved(auth_pb2.WatchObservedRequest()),
    ]
    for stream in streams:
        await stream.read()
    began = time.monotonic()
    await service.auth.drain(200)
    assert time.monotonic() - began < 100
    await service.channel.close()
    await service.start()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_second_auth_on_one_sqlite_file_is_refused(service):
    second = main.Auth(service.settings)
    with pytest.raises(StartError, match="another auth"):
        await second.start()
    await second.drain(0)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_replicas_on_postgres_tell_each_other(service, database_url):
    with tempfile.TemporaryDirectory(prefix="penstock-auth-") as folder:
        other = Service(Path(folder), database_url)
        write(other.settings.catalog_path, catalog())
        await other.start()
        try:
            key, digest = await service.create_key()
            assert (await other.allow(digest)).HasField("allowance")
            stream = other.edge.WatchChanges(auth_pb2.WatchChangesRequest(edge_session="edge-1"))
            await stream.read()
            await service.admin.DisableKey(admin_pb2.DisableKeyRequest(id=key.id))
            async with asyncio.timeout(30):
                while (await stream.read()).key_sha256 != digest:
                    pass
            assert (await other.allow(digest)).denial.reason == auth_pb2.DENIAL_REASON_DISABLED
            stream.cancel()
        finally:
            await other.stop()
