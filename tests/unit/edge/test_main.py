"""The whole edge process, wired as in life, before fake auth, router and upstream."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from penstock.auth.v1 import auth_pb2
from penstock.auth.v1.auth_pb2_grpc import AuthServiceServicer, add_AuthServiceServicer_to_server
from penstock.router.v1 import router_pb2
from penstock.router.v1.router_pb2_grpc import RouterServiceServicer, add_RouterServiceServicer_to_server
from penstock_chassis.http import AddressTakenError
from penstock_chassis.process import StartError
from penstock_chassis.rpc import RpcServer
from penstock_edge import main
from penstock_edge.main import Edge
from penstock_edge.metrics import EdgeMetrics
from penstock_edge.settings import EdgeSettings
from tests.unit.edge.test_spool import left_in, opened


class Auth(AuthServiceServicer):
    def __init__(self):
        self.settled = {}
        self.ended = []
        self.answers = True

    async def Allow(self, request, context):
        holding = auth_pb2.Holding(
            slots=request.keeping.slots + request.want.slots,
            input_tokens=request.keeping.input_tokens + request.want.input_tokens,
            output_tokens=request.keeping.output_tokens + request.want.output_tokens,
            micro_usd=request.keeping.micro_usd + request.want.micro_usd,
        )
        return auth_pb2.AllowResponse(
            allowance=auth_pb2.Allowance(
                lease_id=f"lease-{request.seq}", requests=request.want_requests, life_ms=30_000, holding=holding
            ),
            key=auth_pb2.KeyFacts(
                key_id="key-1",
                project="demo",
                plan="team",
                models=["*"],
                over_budget="Settled",
                on_store_outage="Closed",
                price_multiplier_ppm=1_000_000,
                max_concurrent_requests=64,
            ),
            epoch="epoch-1",
            store_time_ms=1_790_000_000_000,
            edge_count=1,
        )

    async def Declare(self, request, context):
        if request.final:
            self.ended.append(request.edge_session)
        return auth_pb2.DeclareResponse(epoch="epoch-1", store_time_ms=1_790_000_000_000)

    async def Settle(self, request, context):
        while not self.answers:
            await asyncio.sleep(0.01)
        for row in request.settlements:
            self.settled[row.request_id] = row
        return auth_pb2.SettleResponse(
            results=[auth_pb2.SettleResult(request_id=row.request_id, committed=True) for row in request.settlements]
        )

    async def WatchChanges(self, request, context):
        while True:
            yield auth_pb2.Change(seq=0, epoch="epoch-1", heartbeat=True)
            await asyncio.sleep(0.2)


class Router(RouterServiceServicer):
    def __init__(self, port):
        self.port = port
        self.reports = []

    async def Watch(self, request, context):
        free = router_pb2.Share(
            slots=-1, requests_per_minute=-1, request_burst=-1, tokens_per_minute=-1, token_burst=-1
        )
        yield router_pb2.Update(
            snapshot=router_pb2.Snapshot(
                catalog_version="v1",
                accounts=[
                    router_pb2.Account(
                        name="a",
                        provider="Anthropic",
                        base_url=f"http://127.0.0.1:{self.port}",
                        api_key="sk-up",
                        models=["claude-sonnet-4-6"],
                        weight=100,
                        mode="Active",
                        allow_private_address=True,
                    )
                ],
                models=[
                    router_pb2.Model(
                        name="claude-sonnet-4-6",
                        context_tokens=200_000,
                        max_output_tokens=64_000,
                        prices=[router_pb2.Price(digest="d" * 16, input=3_000_000, output=15_000_000)],
                    )
                ],
                shares=[router_pb2.AccountShare(account="a", version=1, share=free)],
            )
        )
        while True:
            await asyncio.sleep(0.2)
            yield router_pb2.Update(heartbeat=True)

    async def Report(self, request, context):
        self.reports.append(request)
        return router_pb2.ReportResponse(accepted_seq=request.seq)


@pytest.fixture
async def others(upstream, tmp_path):
    """Auth and router on sockets of their own."""
    auth, router = Auth(), Router(upstream.port)
    auth_server = RpcServer(f"unix:{tmp_path}/auth.sock")
    add_AuthServiceServicer_to_server(auth, auth_server.server)
    router_server = RpcServer(f"unix:{tmp_path}/router.sock")
    add_RouterServiceServicer_to_server(router, router_server.server)
    await auth_server.begin()
    await router_server.begin()
    yield auth, router
    await auth_server.end(0.1)
    await router_server.end(0.1)


@pytest.fixture
def settings(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return EdgeSettings(
        port=port,
        auth_address=f"unix:{tmp_path}/auth.sock",
        router_address=f"unix:{tmp_path}/router.sock",
        spool_dir=tmp_path / "spool",
        ready_files=(tmp_path / "admin-ready",),
    )


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Each edge of these tests counts for itself."""
    registry = CollectorRegistry()
    monkeypatch.setattr(main, "EdgeMetrics", lambda: EdgeMetrics(registry))
    # The process of the tests goes on living.
    monkeypatch.setattr(main.gc, "freeze", lambda: None)
    monkeypatch.setattr(main.gc, "set_threshold", lambda *_: None)
    return registry


@contextlib.asynccontextmanager
async def running(settings, seconds=1.0):
    edge = Edge(settings)
    await edge.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}", timeout=10) as http:
            yield edge, http
    finally:
        await edge.drain(seconds)


BODY = {"model": "claude-sonnet-4-6", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


async def test_a_request_goes_all_the_way_into_the_books(others, settings, play, upstream, registry):
    auth, router = others
    async with running(settings) as (edge, http):
        answer = await http.post("/v1/messages", json=BODY, headers={"x-api-key": play.key})
        assert answer.status_code == 200
        name = answer.headers["request-id"]
        shown = await http.get(f"/v1/usage/{name}", headers={"x-api-key": play.key})
        assert shown.json()["cost_micro"] == 105
        assert upstream.requests[0].headers["x-request-id"] == [name]
        assert registry.get_sample_value("penstock_edge_active_requests") == 0
        assert registry.get_sample_value("penstock_edge_held_slots") == 0
        assert registry.get_sample_value("penstock_edge_lent_requests") is not None
    row = auth.settled[name]
    assert (row.project, row.model, row.state) == ("demo", "claude-sonnet-4-6", auth_pb2.DELIVERY_STATE_COMPLETE)
    assert row.attempts[0].usage.output_tokens == 5
    # A clean end: the session owes nothing, the spool is empty, the router knows.
    assert auth.ended == [edge.session.id]
    assert [p.name for p in (settings.spool_dir / settings.name).iterdir()] == ["lock"]
    assert any(outcome.request_id == name for report in router.reports for outcome in report.outcomes)
    assert router.reports[-1].final


async def test_readiness_waits_for_everything(others, settings, tmp_path):
    async with running(settings) as (edge, http):
        assert edge.ready() == (False, "waiting for admin-ready")
        assert (await http.get("/readyz")).status_code == 503
        (tmp_path / "admin-ready").touch()
        assert edge.ready() == (True, "")
        edge._tasks[0].cancel()
        await asyncio.sleep(0.01)
        assert edge.ready() == (True, "")
    assert edge.ready() == (False, "draining")


async def test_work_that_dies_ends_the_edge(others, settings, tmp_path, monkeypatch):
    (tmp_path / "admin-ready").touch()
    signals = []
    monkeypatch.setattr("penstock_edge.main.signal.raise_signal", signals.append)
    async with running(settings) as (edge, _):

        async def die():
            raise RuntimeError("bug")

        edge._begin("the test", die())
        await asyncio.sleep(0.01)
        assert edge.ready() == (False, "broken: the test")
        assert signals == [signal.SIGTERM]


async def test_without_the_others_it_listens_but_is_not_ready(settings, monkeypatch):
    monkeypatch.setattr(main, "_START_SECONDS", 0.1)
    async with running(settings, 0.1) as (edge, http):
        assert (await http.get("/healthz")).status_code == 200
        assert edge.ready() == (False, "the router has not been reached")
        edge.view.ready = True
        assert edge.ready() == (False, "auth has not been reached")


async def test_the_drain_lets_streams_end(others, settings, play, upstream):
    auth, _ = others
    upstream.scripts = [play.stream(pause=0.05)]
    async with running(settings) as (edge, http):
        request = asyncio.create_task(
            http.post("/v1/messages", json={**BODY, "stream": True}, headers={"x-api-key": play.key})
        )
        await asyncio.sleep(0.15)
        await edge.drain(2.0)
        answer = await request
        assert answer.text.count("event: message_stop") == 1
        edge.drain = _nothing
    assert [row.state for row in auth.settled.values()] == [auth_pb2.DELIVERY_STATE_COMPLETE]


async def test_the_drain_ends_what_takes_too_long(others, settings, play, upstream):
    auth, _ = others
    upstream.scripts = [play.stream([play.start(), play.block, play.text("hello")], end="hang")]
    async with running(settings) as (edge, http):
        request = asyncio.create_task(
            http.post("/v1/messages", json={**BODY, "stream": True}, headers={"x-api-key": play.key})
        )
        await asyncio.sleep(0.3)
        await edge.drain(0.2)
        answer = await request
        assert "event: error" in answer.text
        assert "message_stop" not in answer.text
        edge.drain = _nothing
    assert [row.state for row in auth.settled.values()] == [auth_pb2.DELIVERY_STATE_ERROR_AFTER_OUTPUT]
    assert auth.ended == [edge.session.id]


def asked(settings, key, *, stream=False, times=1):
    """Return a connection with a tiny window on which so much was asked for."""
    body = msgspec.json.encode({**BODY, "stream": stream})
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", settings.port))
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %b\r\ncontent-length: %d\r\n\r\n"
    made.sendall((head % (key.encode(), len(body)) + body) * times)
    return made


def _stalled(edge):
    return any(connection.flow.write_paused for connection in edge._server.server_state.connections)


async def test_the_drain_settles_what_nobody_reads(others, settings, play, upstream):
    auth, _ = others
    upstream.scripts = [play.stream([play.start(), play.block] + [play.text("x" * 100_000)] * 200, end="hang")]
    async with running(settings) as (edge, _http):
        with asked(settings, play.key, stream=True):
            async with asyncio.timeout(30):
                while not _stalled(edge):
                    await asyncio.sleep(0.01)
            await edge.drain(0.2)
            edge.drain = _nothing
            [row] = auth.settled.values()
    assert row.state == auth_pb2.DELIVERY_STATE_ERROR_AFTER_OUTPUT
    assert row.attempts[0].usage.input_tokens == 10
    assert auth.ended == [edge.session.id]


async def test_the_drain_settles_what_began_while_it_ended_the_rest(others, settings, play, upstream):
    auth, _ = others
    upstream.scripts = [play.hang]
    async with running(settings) as (edge, _http):
        with asked(settings, play.key, times=2):
            async with asyncio.timeout(30):
                while not upstream.requests:
                    await asyncio.sleep(0.01)
            await edge.drain(0.2)
            edge.drain = _nothing
            assert not edge.dispatcher.active
    assert len(auth.settled) == len(upstream.requests) == 2
    assert auth.ended == [edge.session.id]


async def test_a_client_that_reads_nothing_gives_up_its_place_in_time(others, settings, play, upstream):
    """Its second answer would wait for room as long as it likes."""
    auth, _ = others
    large = {"type": "message", "content": ["x" * 20_000_000], "usage": {"input_tokens": 3, "output_tokens": 4}}
    upstream.scripts = [play.answer(body=large), play.answer()]
    async with running(msgspec.structs.replace(settings, client_stall_seconds=0.2)) as (edge, _http):
        with asked(settings, play.key, times=2):
            async with asyncio.timeout(30):
                while len(auth.settled) < 2 or edge._server.server_state.connections:
                    await asyncio.sleep(0.01)
    states = {row.state for row in auth.settled.values()}
    assert states == {auth_pb2.DELIVERY_STATE_COMPLETE, auth_pb2.DELIVERY_STATE_CLIENT_LEFT}


async def test_what_cannot_be_settled_stays_in_the_spool_for_the_next_life(others, settings, play, monkeypatch):
    auth, _ = others
    auth.answers = False
    async with running(settings, 0.1) as (edge, http):
        answer = await http.post("/v1/messages", json=BODY, headers={"x-api-key": play.key})
        name = answer.headers["request-id"]
    assert auth.settled == {}
    assert auth.ended == []
    auth.answers = True
    monkeypatch.setattr(main, "EdgeMetrics", lambda: EdgeMetrics(CollectorRegistry()))
    async with running(settings, 0.1):
        async with asyncio.timeout(30):
            while name not in auth.settled or edge.session.id not in auth.ended:
                await asyncio.sleep(0.02)


async def test_a_session_whose_request_never_ended_is_not_over(others, settings):
    auth, _ = others
    async with running(settings, 0.1) as (edge, _):
        edge.spool.open(opened(1))
    assert auth.ended == []
    assert list(left_in(edge.spool.folder)[0]) == [opened(1).request_id]


async def test_a_taken_port_is_an_error(others, settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.port))
        taken.listen()
        edge = Edge(settings)
        with pytest.raises(AddressTakenError, match=str(settings.port)):
            await edge.start()
        await edge.drain(0.1)


async def test_a_spool_in_use_is_an_error(others, settings, registry):
    async with running(settings, 0.1):
        with pytest.raises(StartError, match="spool"):
            Edge(msgspec.structs.replace(settings, port=0))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HTTPS_PROXY", "socks5://user:hunter2@p:1"), ("http_proxy", "https://user:hunter2@p:1")],
)
async def test_a_proxy_that_is_none_is_an_error_that_tells_no_secret(others, settings, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(StartError, match=f"{variable} must be") as error:
        Edge(settings)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("text", [None, "no certificate"])
async def test_authorities_that_cannot_be_read_are_an_error(others, settings, tmp_path, text):
    path = tmp_path / "ca.crt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartError, match=r"upstream_ca_file .* cannot be used"):
        Edge(msgspec.structs.replace(settings, upstream_ca_file=path))


async def _nothing(seconds):
    pass
