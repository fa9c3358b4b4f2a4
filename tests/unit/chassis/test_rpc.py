"""Channels and servers on real sockets."""

from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc

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


async def test_tcp_addresses_tell_their_port() -> None:
    server = RpcServer("127.0.0.1:0")
    await server.begin()
    assert await ask(f"127.0.0.1:{server.port}") == health_pb2.HealthCheckResponse.SERVING
    await server.end(0)
