"""What the settings ask for, and what strangers get, over real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock_chassis import rpc
from penstock_chassis.identity import Component
from penstock_chassis.process import StartError
from penstock_chassis.rpc_settings import RpcSettings
from penstock_chassis.rpc_transport import Transport
from tests.unit.chassis.certificate_files import Authority, as_settings

SECONDS = 20.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def transport(authority: Authority, component: Component, **changes) -> Transport:
    domain = changes.get("tls_domain", "penstock.internal")
    files = authority.issue(component.value, domain=domain)
    return Transport(component, RpcSettings(**(as_settings(files) | changes)))


@pytest.fixture
async def address(authority: Authority) -> AsyncIterator[str]:
    server = transport(authority, Component.AUTH).server("127.0.0.1:0", max_connection_age_seconds=300)
    await server.begin()
    yield f"127.0.0.1:{server.port}"
    await server.end(0)


async def ask(channel: grpc.aio.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)).status)


async def refusal(channel: grpc.aio.Channel) -> grpc.aio.AioRpcError:
    """Return how a call fails, which must be soon: nobody waits for the deadline."""
    begun = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await ask(channel)
    await channel.close()
    assert time.monotonic() - begun < SECONDS - 1
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "failed to connect" in (failed.value.details() or "")
    return failed.value


async def test_siblings_understand_each_other(authority: Authority, address: str) -> None:
    async with transport(authority, Component.EDGE).channel(address, Component.AUTH) as channel:
        assert await ask(channel) == health_pb2.HealthCheckResponse.SERVING


async def test_a_server_with_another_name_is_not_believed(authority: Authority, address: str) -> None:
    failed = await refusal(transport(authority, Component.EDGE).channel(address, Component.ROUTER))
    assert "Hostname Verification Check failed" in (failed.details() or "")


async def test_a_server_of_another_domain_is_not_believed(authority: Authority, address: str) -> None:
    await refusal(transport(authority, Component.EDGE, tls_domain="staging").channel(address, Component.AUTH))


async def test_a_server_of_a_strange_authority_is_not_believed(tmp_path: Path, address: str) -> None:
    stranger = Authority(tmp_path / "stranger")
    failed = await refusal(transport(stranger, Component.EDGE).channel(address, Component.AUTH))
    assert "CERTIFICATE_VERIFY_FAILED" in (failed.details() or "")


def presenting(authority: Authority, address: str, *, key: bytes | None, chain: bytes | None) -> grpc.aio.Channel:
    """A client that believes the server and shows what it likes."""
    credentials = grpc.ssl_channel_credentials(authority.ca.cert_pem.bytes(), key, chain)
    options = [("grpc.ssl_target_name_override", "auth.penstock.internal")]
    return grpc.aio.secure_channel(address, credentials, options=options)


@pytest.mark.parametrize("shown", ["no certificate", "one that expired", "one of a strange authority"])
async def test_a_client_without_a_good_certificate_is_turned_away_soon(authority, address, tmp_path, shown) -> None:
    key = chain = None
    if shown == "one that expired":
        files = authority.issue("edge", days=-1)
        key, chain = files.key.read_bytes(), files.chain.read_bytes()
    elif shown == "one of a strange authority":
        files = Authority(tmp_path / "stranger").issue("edge")
        key, chain = files.key.read_bytes(), files.chain.read_bytes()
    await refusal(presenting(authority, address, key=key, chain=chain))


async def test_plain_text_meets_tls_and_the_call_fails_soon(address: str) -> None:
    await refusal(rpc.channel(address))


async def test_tls_meets_plain_text_and_the_call_fails_soon(authority: Authority) -> None:
    server = rpc.RpcServer("127.0.0.1:0")
    await server.begin()
    await refusal(transport(authority, Component.EDGE).channel(f"127.0.0.1:{server.port}", Component.AUTH))
    await server.end(0)


PLAIN = RpcSettings()


async def test_unix_sockets_need_no_certificates_and_use_none(authority: Authority, tmp_path: Path) -> None:
    for one in (Transport(Component.AUTH, PLAIN), transport(authority, Component.AUTH)):
        address = f"unix:{tmp_path}/auth.sock"
        server = one.server(address, max_connection_age_seconds=300)
        await server.begin()
        async with one.channel(address, Component.AUTH) as channel:
            assert await ask(channel) == health_pb2.HealthCheckResponse.SERVING
        await server.end(0)


@pytest.mark.parametrize("address", ["127.0.0.1:9000", "penstock-auth:9000", "dns:///penstock-auth:9000", "unix-abstract:auth"])  # fmt: skip
async def test_plain_text_must_be_asked_for(address: str) -> None:
    one = Transport(Component.EDGE, PLAIN)
    with pytest.raises(StartError, match=r"in plain text: give tls_cert_file.*insecure_plaintext=true"):
        one.channel(address, Component.AUTH)
    with pytest.raises(StartError, match="in plain text"):
        one.server(address, max_connection_age_seconds=300)
    asked = Transport(Component.EDGE, RpcSettings(insecure_plaintext=True))
    await asked.channel(address, Component.AUTH).close()


async def test_plain_text_that_was_asked_for_works() -> None:
    one = Transport(Component.AUTH, RpcSettings(insecure_plaintext=True))
    server = one.server("127.0.0.1:0", max_connection_age_seconds=300)
    await server.begin()
    async with one.channel(f"127.0.0.1:{server.port}", Component.AUTH) as channel:
        assert await ask(channel) == health_pb2.HealthCheckResponse.SERVING
    await server.end(0)


@pytest.mark.parametrize("missing", ["tls_cert_file", "tls_key_file", "tls_ca_file"])
def test_the_files_go_together(authority: Authority, missing: str) -> None:
    given = as_settings(authority.issue("edge"))
    del given[missing]
    with pytest.raises(StartError, match="all three or none"):
        Transport(Component.EDGE, RpcSettings(**given))


def test_certificates_and_plain_text_contradict_each_other(authority: Authority) -> None:
    with pytest.raises(StartError, match="one or the other"):
        transport(authority, Component.EDGE, insecure_plaintext=True)


def test_a_process_does_not_start_with_a_siblings_certificate(authority: Authority) -> None:
    files = authority.issue("router")
    with pytest.raises(StartError, match=r"names router\.penstock\.internal, not edge\.penstock\.internal"):
        Transport(Component.EDGE, RpcSettings(**as_settings(files)))


async def test_without_certificates_there_is_nothing_to_follow_for_ever() -> None:
    following = asyncio.create_task(Transport(Component.EDGE, PLAIN).run())
    await asyncio.sleep(0.05)
    assert not following.done()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
