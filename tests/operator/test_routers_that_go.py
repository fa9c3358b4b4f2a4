"""Routers that go away while they are asked, and words that cannot be understood: nothing gets stuck, nothing ends."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_catalog.documents import Account
from penstock_chassis import rpc
from penstock_chassis.identity import Component
from penstock_operator import sights
from penstock_operator.credentials import Proof
from penstock_operator.observing import Observer
from penstock_operator.probing import Routers

ACCOUNT = Account(
    name="a", provider="OpenAI", base_url="https://api.example.com", api_key="sk-1", credential_hash="1", models=()
)


class Router(router_pb2_grpc.RouterServiceServicer):
    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answering = asyncio.Event()

    async def Probe(self, request, context):
        self.asked.set()
        await self.answering.wait()
        return router_pb2.ProbeResponse(result=router_pb2.PROBE_RESULT_OK, status=200)

    async def WatchObserved(self, request, context):
        yield router_pb2.Observed(catalog_version="1")
        await asyncio.Event().wait()


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
async def address(router: Router) -> AsyncIterator[str]:
    server = rpc.RpcServer("127.0.0.1:0")
    router_pb2_grpc.add_RouterServiceServicer_to_server(router, server.server)
    await server.begin()
    yield f"127.0.0.1:{server.port}"
    await server.end(0)


async def test_a_router_that_goes_while_it_is_asked_is_passed_over(router: Router, address: str) -> None:
    channel = rpc.channel(address)
    stub = router_pb2_grpc.RouterServiceStub(channel)
    asking = asyncio.create_task(Routers(lambda: [stub]).try_out(ACCOUNT))
    await router.asked.wait()
    await channel.close()
    async with asyncio.timeout(30):
        assert await asking == Proof("NoRouter")
    assert await Routers(lambda: [stub]).try_out(ACCOUNT) == Proof("NoRouter"), "a channel that was closed before"


async def test_another_router_is_asked_then(router: Router, address: str) -> None:
    gone, there = rpc.channel(address), rpc.channel(address)
    stubs = [router_pb2_grpc.RouterServiceStub(channel) for channel in (gone, there)]
    await gone.close()
    router.answering.set()
    for _ in range(8):
        assert await Routers(lambda: stubs).try_out(ACCOUNT) == Proof("Ok", 200)
    await there.close()


async def test_who_is_cancelled_asks_nobody_else(router: Router, address: str) -> None:
    channel = rpc.channel(address)
    stub = router_pb2_grpc.RouterServiceStub(channel)
    asking = asyncio.create_task(Routers(lambda: [stub, stub]).try_out(ACCOUNT))
    await router.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await channel.close()


class Channels:
    def channel(self, address: str, to: Component) -> grpc.aio.Channel:
        return rpc.channel(address)


async def test_a_word_that_cannot_be_understood_does_not_end_the_listening(address: str, monkeypatch) -> None:
    understood = sights.of_router
    words = iter([RuntimeError("a bug")])

    def of_router(*args):
        for error in words:
            raise error
        return understood(*args)

    monkeypatch.setattr(sights, "of_router", of_router)
    observer = Observer(Component.ROUTER, [address], Channels(), wake=lambda: None, outage_seconds=30)
    running = asyncio.create_task(observer.run())
    async with asyncio.timeout(30):
        while not observer.speaking():
            await asyncio.sleep(0.02)
    assert next(iter(observer.fleet().words.values())).version == "1"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
