"""How a proxy is spoken to, and whose fault is whose."""

from __future__ import annotations

import asyncio
import base64
import ssl

import pytest
import trustme
from structlog.testing import capture_logs

from penstock_chassis.proxies import Proxies
from penstock_edge.upstream import (
    AddressRefusedError,
    ConnectError,
    DeadlineError,
    ProxyError,
    UpstreamClient,
    UpstreamError,
)
from tests.unit.edge.upstream.servers import OK, QUICK, Server, ask, at, names, says

# Spoken to


class ProxyServer:
    """A proxy that leads every name to one port of this machine, or answers as it is told."""

    def __init__(self, leads_to=None, answer=None, after=b""):
        self.leads_to = leads_to
        self.answer = answer
        self.after = after
        self.heads = []
        self.tasks = set()
        self.open = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0.01)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        self.open += 1
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            if self.answer is not None:
                writer.write(self.answer)
                await writer.drain()
                if self.answer:
                    return
                await reader.read(-1)
                return
            if not self.heads[-1].startswith(b"CONNECT"):
                writer.write(OK)
                await reader.read(-1)
                return
            there, back = await asyncio.open_connection("127.0.0.1", self.leads_to)
            writer.write(b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n" + self.after)
            try:
                await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
            finally:
                back.transport.abort()
        except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):
            pass
        finally:
            self.open -= 1
            self.tasks.discard(task)
            writer.transport.abort()


async def pass_on(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@pytest.fixture(scope="session")
def certified(tmp_path_factory):
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("api.example").configure_cert(context)
    return path, context


def through(proxy, ca_file=None, user="", **environ):
    url = f"http://{user}127.0.0.1:{proxy.port}"
    found = Proxies.from_environment({"HTTPS_PROXY": url, "HTTP_PROXY": url, **environ})
    made = UpstreamClient(ca_file=ca_file, proxies=found)
    names(made, {"api.example": OSError("no names here"), "plain.example": OSError("no names here")})
    return made


async def test_https_goes_through_a_tunnel_and_is_verified_end_to_end(certified):
    path, context = certified
    async with Server(says(OK), tls=context) as server, ProxyServer(server.port) as proxy:
        client = through(proxy, path, user="us%40er:p%3Ass@")
        target = at("api.example", server)
        for _ in range(3):
            assert await ask(client, target) == (200, b"hello")
        [head] = proxy.heads
        first, *lines = head.split(b"\r\n")
        assert first == f"CONNECT api.example:{server.port} HTTP/1.1".encode()
        assert b"proxy-authorization: Basic " + base64.b64encode(b"us@er:p:ss") in lines
        # The upstream hears nothing of the proxy's credential.
        assert all(b"proxy-authorization" not in head for head, _ in server.requests)
        assert server.connections == 1
        await client.close()


async def test_a_tunnel_to_somebody_else_is_refused(certified):
    path, _ = certified
    other = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("api.example").configure_cert(other)
    async with Server(says(OK), tls=other) as server, ProxyServer(server.port) as proxy:
        client = through(proxy, path)
        with pytest.raises(ConnectError, match="certificate"):
            await ask(client, at("api.example", server))
        await client.close()


async def test_plain_http_is_asked_for_by_its_whole_url():
    async with Server(says(OK)) as server, ProxyServer() as proxy:
        client = through(proxy, user="u:p@")
        assert await ask(client, at("plain.example", server)) == (200, b"hello")
        [head] = proxy.heads
        lines = head.split(b"\r\n")
        assert lines[0] == f"POST http://plain.example:{server.port}/v1/messages HTTP/1.1".encode()
        assert lines[1] == b"proxy-authorization: Basic " + base64.b64encode(b"u:p")
        assert lines[2] == b"host: x"
        await client.close()


FAILURES = {
    "wants a credential": (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", ProxyError),
    "forbids": (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno!", ProxyError),
    "errs": (b"HTTP/1.1 500 Oops\r\n\r\n", ProxyError),
    "cannot reach": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", ConnectError),
    "cannot reach in time": (b"HTTP/1.0 504 Gateway Timeout\r\n\r\n", ConnectError),
    "speaks no http": (b"220 smtp.example ESMTP\r\n\r\n", ProxyError),
    "speaks too much": (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, ProxyError),
    "speaks out of turn": (b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0", ProxyError),
    "breaks off": (b"HTTP/1.1 20", ProxyError),
    "makes no sense": (b"HTTP/1.1 2x0 OK\r\n\r\n", ProxyError),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_the_proxys_failures_are_its_own(certified, name):
    answer, kind = FAILURES[name]
    path, context = certified
    async with Server(says(OK), tls=context) as server, ProxyServer(answer=answer) as proxy:
        client = through(proxy, path, user="user:hunter2@")
        with capture_logs() as logs, pytest.raises(UpstreamError) as error:
            await ask(client, at("api.example", server))
        assert type(error.value) is kind
        assert not error.value.sent
        assert server.connections == 0
        assert client.open_connections() == 0
        shown = f"{error.value} {error.value.__cause__} {logs}"
        assert [line["event"] for line in logs] == ["upstream_unreachable"]
        assert "hunter2" not in shown
        assert base64.b64encode(b"user:hunter2").decode() not in shown
        await client.close()


async def test_interim_words_of_a_proxy_are_passed_over(certified):
    path, context = certified
    async with (
        Server(says(OK), tls=context) as server,
        ProxyServer(answer=b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 407 X\r\n\r\n") as proxy,
    ):
        client = through(proxy, path)
        with pytest.raises(ProxyError, match="407"):
            await ask(client, at("api.example", server))
        await client.close()


async def test_a_proxy_that_is_not_there(certified):
    path, _ = certified
    async with Server(says(OK)) as server, ProxyServer() as proxy:
        pass
    client = through(proxy, path)
    with pytest.raises(ProxyError, match="ECONNREFUSED") as error:
        await ask(client, at("api.example", server, allow_private=True))
    assert not error.value.sent
    await client.close()


async def test_a_proxy_that_is_silent_ends_at_the_deadline(certified):
    path, context = certified
    async with Server(says(OK), tls=context) as server, ProxyServer(answer=b"") as proxy:
        client = through(proxy, path)
        with pytest.raises(DeadlineError) as error:
            await ask(client, at("api.example", server), QUICK._replace(connect=0.2))
        assert (error.value.phase, error.value.sent) == ("proxy", False)
        await asyncio.sleep(0.05)
        assert (client.open_connections(), proxy.open) == (0, 0)
        await client.close()


async def test_a_407_to_a_plain_request_is_the_proxys():
    async with Server(says(OK)) as server, ProxyServer(answer=b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n") as proxy:
        client = through(proxy)
        with pytest.raises(ProxyError, match="407"):
            await ask(client, at("plain.example", server))
        await client.close()


# The guard


@pytest.mark.parametrize(
    "found", [["10.0.0.1"], ["93.184.216.34", "::ffff:10.0.0.1"], ["169.254.169.254"]], ids=lambda found: found[-1]
)
async def test_behind_a_proxy_too_what_is_known_to_be_private_is_refused(certified, found):
    path, context = certified
    async with Server(says(OK), tls=context) as server, ProxyServer(server.port) as proxy:
        client = through(proxy, path)
        names(client, {"api.example": found})
        with pytest.raises(AddressRefusedError):
            await ask(client, at("api.example", server, allow_private=False))
        assert proxy.heads == []
        await client.close()


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "fd00::1"])
async def test_a_private_address_in_the_url_is_refused_behind_a_proxy(certified, host):
    path, context = certified
    async with Server(says(OK), tls=context) as server, ProxyServer(server.port) as proxy:
        client = through(proxy, path)
        with pytest.raises(AddressRefusedError):
            await ask(client, at(host, server, allow_private=False))
        assert proxy.heads == []
        await client.close()


@pytest.mark.parametrize("slow", [False, True])
async def test_a_name_that_is_unknown_here_leads_where_the_proxy_takes_it(certified, slow, monkeypatch):
    path, context = certified
    monkeypatch.setattr("penstock_edge.upstream.dialing._GUARD_SECONDS", 0.05)
    async with Server(says(OK), tls=context) as server, ProxyServer(server.port) as proxy:
        client = through(proxy, path)
        if slow:
            names(client, {"api.example": lambda: asyncio.sleep(5)})
        assert (await ask(client, at("api.example", server, allow_private=False)))[0] == 200
        await client.close()


async def test_plain_http_needs_leave_behind_a_proxy_too():
    async with Server(says(OK)) as server, ProxyServer() as proxy:
        client = through(proxy)
        with pytest.raises(AddressRefusedError):
            await ask(client, at("plain.example", server, allow_private=False))
        await client.close()
