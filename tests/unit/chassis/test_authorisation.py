"""Who is let through, over real sockets with real certificates."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from penstock.auth.v1 import admin_pb2_grpc, auth_pb2, auth_pb2_grpc
from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_chassis import rpc
from penstock_chassis.authorisation import Guard
from penstock_chassis.identity import Component
from tests.unit.chassis.certificate_files import DOMAIN, Authority

AUTH_NAME = f"auth.{DOMAIN}"


class Router(router_pb2_grpc.RouterServiceServicer):
    def __init__(self) -> None:
        self.watching = 0
        self.reports = 0

    async def Watch(self, request, context):
        self.watching += 1
        try:
            for seq in range(1, 4):
                yield router_pb2.Update(seq=seq)
            await asyncio.sleep(3600)
        finally:
            self.watching -= 1

    async def Report(self, request, context):
        self.reports += 1
        return router_pb2.ReportResponse(accepted_seq=request.seq)

    async def WatchObserved(self, request, context):
        await context.write(router_pb2.Observed())


class Auth(auth_pb2_grpc.AuthServiceServicer):
    async def Settle(self, request, context):
        return auth_pb2.SettleResponse()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
async def address(authority: Authority, router: Router) -> AsyncIterator[str]:
    server = rpc.RpcServer(
        "127.0.0.1:0",
        credentials=authority.certificates(Component.AUTH).server_credentials(),
        interceptors=(Guard(DOMAIN),),
    )
    router_pb2_grpc.add_RouterServiceServicer_to_server(router, server.server)
    auth_pb2_grpc.add_AuthServiceServicer_to_server(Auth(), server.server)
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin_pb2_grpc.AdminServiceServicer(), server.server)
    await server.begin()
    yield f"127.0.0.1:{server.port}"
    await server.end(0)


@asynccontextmanager
async def calling(authority: Authority, address: str, component: Component):
    async with rpc.secure_channel(address, authority.certificates(component), AUTH_NAME) as channel:
        yield channel


async def first_of(call):
    async for message in call:
        return message
    return None


async def code_of(call) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


OK, DENIED = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("component", "settle", "watch", "observed", "health"),
    [
        (Component.EDGE, OK, OK, DENIED, OK),
        (Component.STATUS, DENIED, DENIED, OK, OK),
        (Component.OPERATOR, DENIED, DENIED, OK, OK),
        (Component.ROUTER, DENIED, DENIED, DENIED, OK),
        (Component.CLI, DENIED, DENIED, DENIED, OK),
    ],
)
async def test_each_component_calls_what_it_may(authority, address, component, settle, watch, observed, health) -> None:
    async with calling(authority, address, component) as channel:
        router = router_pb2_grpc.RouterServiceStub(channel)
        calls = [
            auth_pb2_grpc.AuthServiceStub(channel).Settle(auth_pb2.SettleRequest(), timeout=30),
            first_of(router.Watch(router_pb2.WatchRequest(), timeout=30)),
            first_of(router.WatchObserved(router_pb2.WatchObservedRequest(), timeout=30)),
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30),
        ]
        assert [await code_of(call) for call in calls] == [settle, watch, observed, health]


async def test_a_refusal_says_why_and_is_counted_each_time_and_logged_once(authority, address, router) -> None:
    method = "/penstock.router.v1.RouterService/Report"

    def counted() -> float:
        labels = {"method": method, "caller": "status"}
        return REGISTRY.get_sample_value("penstock_rpc_refused_total", labels) or 0.0

    before = counted()
    with capture_logs() as lines:
        async with calling(authority, address, Component.STATUS) as channel:
            stub = router_pb2_grpc.RouterServiceStub(channel)
            for _ in range(3):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub.Report(router_pb2.ReportRequest(), timeout=30)
    assert refused.value.code() == DENIED
    assert refused.value.details() == f"status may not call {method}; edge may"
    assert router.reports == 0
    assert counted() == before + 3
    told = [line for line in lines if line["event"] == "call_refused"]
    assert [(line["method"], line["caller"], line["certificate_names"]) for line in told] == [
        (method, "status", "status.penstock.internal")
    ]


async def test_a_certificate_of_another_domain_is_nobody(authority, address) -> None:
    certificates = authority.certificates(Component.EDGE, domain="staging.internal")
    async with rpc.secure_channel(address, certificates, AUTH_NAME) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="a caller whose certificate names no component may not call"):
            await auth_pb2_grpc.AuthServiceStub(channel).Settle(auth_pb2.SettleRequest(), timeout=30)


async def test_streams_flow_through_the_guard_and_end_with_the_client(authority, address, router) -> None:
    async with calling(authority, address, Component.EDGE) as channel:
        call = router_pb2_grpc.RouterServiceStub(channel).Watch(router_pb2.WatchRequest())
        assert [(await call.read()).seq for _ in range(3)] == [1, 2, 3]
        assert router.watching == 1
        call.cancel()
        async with asyncio.timeout(30):
            while router.watching:
                await asyncio.sleep(0.01)


async def test_what_is_not_served_is_unimplemented_not_denied(authority, address) -> None:
    async with calling(authority, address, Component.STATUS) as channel:
        unheard = channel.unary_unary("/penstock.auth.v1.AdminService/Unheard")
        assert await code_of(unheard(b"", timeout=30)) == grpc.StatusCode.UNIMPLEMENTED


async def test_a_method_without_a_row_is_nobodys(authority, address, monkeypatch) -> None:
    monkeypatch.setattr("penstock_chassis.callers.CALLERS", {})
    async with calling(authority, address, Component.EDGE) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="nobody may"):
            await auth_pb2_grpc.AuthServiceStub(channel).Settle(auth_pb2.SettleRequest(), timeout=30)


async def test_unix_sockets_are_open_to_whoever_may_open_them(tmp_path, router) -> None:
    server = rpc.RpcServer(f"unix:{tmp_path}/router.sock")
    router_pb2_grpc.add_RouterServiceServicer_to_server(router, server.server)
    await server.begin()
    async with rpc.channel(server.address) as channel:
        answer = await router_pb2_grpc.RouterServiceStub(channel).Report(router_pb2.ReportRequest(seq=7), timeout=30)
        assert answer.accepted_seq == 7
    await server.end(0)
