"""A name server that says nothing: what else the operator does in threads goes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc.aio

from penstock_chassis.identity import Component
from penstock_operator import observing
from penstock_operator.observing import Observer


async def test_a_frozen_name_server_holds_one_thread(monkeypatch):
    answered, asked = threading.Event(), []

    def frozen(*arguments, **_):
        asked.append(arguments)
        answered.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

    monkeypatch.setattr(socket, "getaddrinfo", frozen)
    monkeypatch.setattr(observing, "_RESOLVE_DEADLINE", 0.02)
    monkeypatch.setattr(observing, "_RESOLVE_SECONDS", 0.02)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(3))
    observer = Observer(Component.ROUTER, ["router:7002"], _Channels(), wake=lambda: None, outage_seconds=30)
    task = asyncio.create_task(observer.run())
    try:
        await asyncio.sleep(0.5)
        async with asyncio.timeout(20):
            assert await asyncio.to_thread(lambda: "done") == "done"
        assert len(asked) == 1
        answered.set()
        async with asyncio.timeout(20):
            while not observer._replicas:
                await asyncio.sleep(0.01)
    finally:
        answered.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _Channels:
    def channel(self, address, to):
        return grpc.aio.insecure_channel(address)
