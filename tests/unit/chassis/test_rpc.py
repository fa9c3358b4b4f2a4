"""Channels and servers on real sockets."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock_chassis.http import AddressTakenError
from penstock_chassis.rpc import RpcServer, channel


async def ask(address: str) -> int:
    async with channel(address) as open_channel:
        stub = health_pb2_grpc.HealthStub(open_channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=30)
        return int(answer.status)


async def test_a_unix_socket_is_for_its_owner_only_and_goes_with_the_server(tmp_path: Path) -> None:
    socket = tmp_path / "run" / "auth.sock"
    server = RpcServer(f"unix:{socket}")
    await server.begin()
    assert socket.stat().st_mode & 0o777 == 0o600
    assert await ask(f"unix:{socket}") == health_pb2.HealthCheckResponse.SERVING
    await server.end(0.1)
    assert not socket.exists()


async def test_a_unix_socket_is_for_nobody_else_from_its_first_moment(tmp_path: Path) -> None:
    socket = tmp_path / "auth.sock"
    server = RpcServer(f"unix:{socket}")
    start, seen = server.server.start, []

    async def watched() -> None:
        seen.append(socket.stat().st_mode & 0o777)
        await start()

    server.server.start = watched
    before = os.umask(0)
    try:
        await server.begin()
        assert os.umask(0) == 0
    finally:
        os.umask(before)
        await server.end(0.1)
    assert seen == [0o600]


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    socket = tmp_path / "auth.sock"
    socket.touch()
    server = RpcServer(f"unix:{socket}")
    await server.begin()
    assert await ask(f"unix:{socket}") == health_pb2.HealthCheckResponse.SERVING
    await server.end(0.1)


async def test_a_channel_finds_a_restarted_server_soon(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'auth.sock'}"
    first = RpcServer(address)
    await first.begin()
    async with channel(address) as open_channel:
        stub = health_pb2_grpc.HealthStub(open_channel)
        await stub.Check(health_pb2.HealthCheckRequest(), timeout=30)
        await first.end(0)
        second = RpcServer(address)
        await second.begin()
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=30, wait_for_ready=True)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        await second.end(0)


async def test_of_several_replicas_one_is_used_until_it_goes_away() -> None:
    servers = [RpcServer("127.0.0.1:0") for _ in range(2)]
    for place, server in enumerate(servers):
        await server.begin()
        await server.health.set(str(place), health_pb2.HealthCheckResponse.SERVING)
    address = "ipv4:" + ",".join(f"127.0.0.1:{server.port}" for server in servers)

    async def who(stub: Any) -> int:
        try:
            await stub.Check(health_pb2.HealthCheckRequest(service="0"), timeout=30)
        except grpc.aio.AioRpcError as error:
            return 1 if error.code() is grpc.StatusCode.NOT_FOUND else -1
        return 0

    drawn = set()
    for _ in range(64):  # That all of them begin at the same one is less likely than any other failure.
        async with channel(address) as open_channel:
            stub = health_pb2_grpc.HealthStub(open_channel)
            drawn.add(first := await who(stub))
            assert await who(stub) == first
            if len(drawn) == 2:
                await servers[first].end(0)
                assert await who(stub) == 1 - first
                break
    assert drawn == {0, 1}
    for server in servers:
        await server.end(0)


_SERVER = """
import asyncio, sys
from penstock_chassis.rpc import RpcServer
from grpc_health.v1 import health_pb2
async def serve():
    server = RpcServer("127.0.0.1:0")
    await server.begin()
    await server.health.set(str(server.port), health_pb2.HealthCheckResponse.SERVING)
    print(server.port, flush=True)
    await asyncio.sleep(600)
asyncio.run(serve())
"""


async def test_a_replica_that_is_frozen_is_given_up() -> None:
    replicas = [subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        ports = [replica.stdout.readline().strip() for replica in replicas if replica.stdout]
        async with channel("ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)) as open_channel:
            stub: Any = health_pb2_grpc.HealthStub(open_channel)

            async def answering() -> str:
                for port in ports:
                    with contextlib.suppress(grpc.aio.AioRpcError):
                        await stub.Check(health_pb2.HealthCheckRequest(service=port), timeout=2)
                        return port
                return ""

            first = await answering()
            replicas[ports.index(first)].send_signal(signal.SIGSTOP)
            # Its connection never ends by itself: only a ping without an answer tells.
            async with asyncio.timeout(30):
                while not (second := await answering()):
                    pass
            assert {first, second} == set(ports)
    finally:
        for replica in replicas:
            replica.kill()
            replica.communicate()


async def test_tcp_addresses_tell_their_port() -> None:
    server = RpcServer("127.0.0.1:0")
    await server.begin()
    assert await ask(f"127.0.0.1:{server.port}") == health_pb2.HealthCheckResponse.SERVING
    await server.end(0)


@pytest.mark.parametrize(
    "address", ["nonsense", "", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:-1", "unix:", "http://h"]
)
async def test_an_address_that_nothing_can_be_served_at_is_refused_in_words(address: str) -> None:
    server = RpcServer(address)
    with pytest.raises(AddressTakenError, match="cannot serve at "):
        await server.begin()
    await server.server.stop(0)
