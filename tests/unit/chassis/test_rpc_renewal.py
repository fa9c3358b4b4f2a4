"""Certificates that change under running streams and repeated calls."""

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_chassis import rpc
from penstock_chassis.authorisation import Guard
from penstock_chassis.identity import Component
from penstock_chassis.rpc_renewal import RenewingChannel
from penstock_chassis.rpc_settings import RpcSettings
from penstock_chassis.rpc_transport import Transport
from tests.unit.chassis.certificate_files import DOMAIN, Authority, as_settings

POLL_SECONDS = 0.02


class Router(router_pb2_grpc.RouterServiceServicer):
    """Counts, and notes the serial text of each caller's certificate."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def Watch(self, request, context):
        for seq in itertools.count(1):
            yield router_pb2.Update(seq=seq)
            await asyncio.sleep(0.01)

    async def Report(self, request, context):
        self.seen.append(next(iter(context.auth_context()["x509_pem_cert"])))
        await asyncio.sleep(request.seq / 1000)
        return router_pb2.ReportResponse(accepted_seq=request.seq)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def router() -> Router:
    return Router()


@asynccontextmanager
async def serving(router: Router, certificates, *, age: float = 300.0) -> AsyncIterator[str]:
    server = rpc.RpcServer(
        "127.0.0.1:0",
        max_connection_age_seconds=age,
        credentials=certificates.server_credentials(),
        interceptors=(Guard(DOMAIN),),
    )
    router_pb2_grpc.add_RouterServiceServicer_to_server(router, server.server)
    await server.begin()
    yield f"127.0.0.1:{server.port}"
    await server.end(0)


def open_channel(address: str, certificates) -> RenewingChannel:
    channel = rpc.secure_channel(address, certificates, f"router.{DOMAIN}")
    assert isinstance(channel, RenewingChannel)
    return channel


async def until(true) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_stream_goes_on_and_the_next_call_shows_the_new_certificate(authority, router) -> None:
    edge = authority.certificates(Component.EDGE)
    async with serving(router, authority.certificates(Component.ROUTER)) as address:
        async with open_channel(address, edge) as channel:
            stub = router_pb2_grpc.RouterServiceStub(channel)
            stream = stub.Watch(router_pb2.WatchRequest())
            assert (await stream.read()).seq == 1
            await stub.Report(router_pb2.ReportRequest(seq=1), timeout=30)
            slow = asyncio.ensure_future(stub.Report(router_pb2.ReportRequest(seq=300), timeout=30))
            await until(lambda: len(router.seen) == 2)
            authority.issue("edge")
            edge.look()
            await stub.Report(router_pb2.ReportRequest(seq=1), timeout=30)
            assert (await slow).accepted_seq == 300
            first, before, after = router.seen
            assert first == before != after
            for _ in range(20):
                last = (await stream.read()).seq
            assert last == 21
            assert len(channel._retiring) == 1
            stream.cancel()
            await until(lambda: not channel._retiring)


async def test_calls_go_on_while_both_sides_change_again_and_again(tmp_path, authority, router) -> None:
    def transport(component: Component) -> Transport:
        files = authority.issue(component.value)
        return Transport(component, RpcSettings(**as_settings(files), tls_poll_seconds=POLL_SECONDS))

    near, far = transport(Component.EDGE), transport(Component.ROUTER)
    server = far.server("127.0.0.1:0", max_connection_age_seconds=0.3)
    router_pb2_grpc.add_RouterServiceServicer_to_server(router, server.server)
    await server.begin()
    following = [asyncio.create_task(one.run()) for one in (near, far)]
    async with near.channel(f"127.0.0.1:{server.port}", Component.ROUTER) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        rotations = 0
        for number in range(150):
            if number % 25 == 24:
                authority.issue("router" if number % 2 else "edge", days=number)
                rotations += 1
            answer = await stub.Report(router_pb2.ReportRequest(seq=number % 10), timeout=30)
            assert answer.accepted_seq == number % 10
        await until(lambda: len(channel._retiring) == 0)
    assert rotations == 6
    assert len(set(router.seen)) >= 2
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    await server.end(0)


async def test_a_new_authority_takes_over_in_three_steps_without_a_failed_call(tmp_path, authority, router) -> None:
    old, new = authority, Authority(tmp_path)
    edge, far = old.certificates(Component.EDGE), old.certificates(Component.ROUTER)

    async with serving(router, far) as address, open_channel(address, edge) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        for issuer, trusting in ((old, (old, new)), (new, (old, new)), (new, (new,))):
            for name, certificates in (("router", far), ("edge", edge)):
                issuer.issue(name, trusting=trusting)
                certificates.look()
                await stub.Report(router_pb2.ReportRequest(seq=1), timeout=30)
        assert edge.material.authorities == new.ca.cert_pem.bytes()
        behind = Authority(tmp_path / "behind")
        behind.ca = old.ca
        async with open_channel(address, behind.certificates(Component.EDGE, trusting=(old, new))) as late:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await router_pb2_grpc.RouterServiceStub(late).Report(router_pb2.ReportRequest(), timeout=30)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_stubs_that_are_gone_leave_nothing_behind(authority, router) -> None:
    edge = authority.certificates(Component.EDGE)
    async with serving(router, authority.certificates(Component.ROUTER)) as address, open_channel(address, edge) as channel:  # fmt: skip
        for _ in range(20):
            await router_pb2_grpc.RouterServiceStub(channel).Report(router_pb2.ReportRequest(seq=1), timeout=5)
        gc.collect()
        assert len(channel.current()._methods) <= 1


async def test_closing_ends_what_is_open_on_old_and_new_connections(authority, router) -> None:
    edge = authority.certificates(Component.EDGE)
    async with serving(router, authority.certificates(Component.ROUTER)) as address:
        channel = open_channel(address, edge)
        stub = router_pb2_grpc.RouterServiceStub(channel)
        streams = []
        for _ in range(3):
            streams.append(stub.Watch(router_pb2.WatchRequest()))
            assert (await streams[-1].read()).seq == 1
            authority.issue("edge")
            edge.look()
        assert len(channel._retiring) == 2
        await channel.close()
        async with asyncio.timeout(30):
            codes = [await stream.code() for stream in streams]
        assert codes == [grpc.StatusCode.CANCELLED] * 3


async def test_a_closed_channel_refuses_calls_in_words(authority, router) -> None:
    edge = authority.certificates(Component.EDGE)
    async with serving(router, authority.certificates(Component.ROUTER)) as address:
        channel = open_channel(address, edge)
        stub = router_pb2_grpc.RouterServiceStub(channel)
        await channel.close()
        authority.issue("edge")
        edge.look()
        for one in (stub, router_pb2_grpc.RouterServiceStub(channel)):
            with pytest.raises(grpc.aio.UsageError, match="closed"):
                await one.Report(router_pb2.ReportRequest(seq=1), timeout=30)


async def test_its_state_is_that_of_the_connection_in_use(authority, router) -> None:
    edge = authority.certificates(Component.EDGE)
    async with serving(router, authority.certificates(Component.ROUTER)) as address:
        async with open_channel(address, edge) as channel:
            assert channel.get_state() == grpc.ChannelConnectivity.IDLE
            async with asyncio.timeout(30):
                await channel.channel_ready()
            assert channel.get_state() == grpc.ChannelConnectivity.READY
            authority.issue("edge")
            edge.look()
            assert channel.get_state(try_to_connect=True) == grpc.ChannelConnectivity.IDLE
            async with asyncio.timeout(30):
                await channel.wait_for_state_change(grpc.ChannelConnectivity.IDLE)
