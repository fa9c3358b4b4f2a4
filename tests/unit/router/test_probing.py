"""Probes: what is asked of whom, and what a missing answer is."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import httpx
import pytest
import trustme

from penstock_chassis.process import StartError
from penstock_chassis.proxies import Proxies
from penstock_router import main
from penstock_router.probing import NOTHING_LEARNED, Prober, result
from penstock_router.settings import RouterSettings
from penstock_routing import AccountFacts


def account(provider="Anthropic", base_url="https://api.example.com/", **more):
    return AccountFacts(
        name="a", provider=provider, base_url=base_url, api_key="sk-secret", **{"allow_private_address": True, **more}
    )


class Upstream:
    """Answers with a status, and keeps what it was asked."""

    def __init__(self, status=200, words=b"{}"):
        self.answer = status
        self.words = words
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return httpx.Response(self.answer, headers={"location": "http://elsewhere/"}, content=self.words)


ASKED = [
    (
        "Anthropic",
        "https://api.example.com",
        "https://api.example.com/v1/models",
        {"x-api-key": "sk-secret", "anthropic-version": "2023-06-01"},
    ),
    (
        "OpenAI",
        "https://api.example.com/v1",
        "https://api.example.com/v1/models",
        {"authorization": "Bearer sk-secret"},
    ),
    (
        "OpenAICompatible",
        "http://127.0.0.1:9/v1/",
        "http://127.0.0.1:9/v1/models",
        {"authorization": "Bearer sk-secret"},
    ),
    (
        "Gemini",
        "https://g.example.com",
        "https://g.example.com/v1beta/models?pageSize=1",
        {"x-goog-api-key": "sk-secret"},
    ),
]


@pytest.mark.parametrize(("provider", "base", "url", "headers"), ASKED)
async def test_what_is_asked(provider, base, url, headers):
    upstream = Upstream()
    assert await Prober(transport=httpx.MockTransport(upstream)).status(account(provider, base)) == 200
    (request,) = upstream.requests
    assert (request.method, str(request.url)) == ("GET", url)
    assert headers.items() <= dict(request.headers).items()


@pytest.mark.parametrize("status", [200, 401, 403, 500, 302])
async def test_the_status_as_it_is_and_no_redirect(status):
    upstream = Upstream(status)
    assert await Prober(transport=httpx.MockTransport(upstream)).status(account()) == status
    assert len(upstream.requests) == 1


INVALID = b"""{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
"status": "INVALID_ARGUMENT", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]}}"""
SCOPES = b"""{"error": {"message": "You have insufficient permissions for this operation. Missing scopes: api.model.read."}}"""
EVERYBODY = ("Anthropic", "OpenAI", "OpenAICompatible", "Gemini")
READ = [
    *[(provider, status, b"", status) for provider in EVERYBODY for status in (200, 302, 429, 500, 503)],
    *[(provider, 401, b"", 401) for provider in EVERYBODY],
    *[(provider, 403, b"", 403) for provider in EVERYBODY if provider != "Gemini"],
    *[(provider, 400, INVALID, 400) for provider in EVERYBODY if provider != "Gemini"],
    *[(provider, 404, b"", 404) for provider in EVERYBODY if provider != "OpenAICompatible"],
    # Google says so of keys that are not, no longer or nowhere valid.
    ("Gemini", 400, INVALID, 401),
    ("Gemini", 400, b"", 400),
    ("Gemini", 403, b"", 401),
    # A server without the list, and a key that may not read it.
    *[("OpenAICompatible", status, b"", NOTHING_LEARNED) for status in (404, 405, 501)],
    *[("OpenAI", status, SCOPES, NOTHING_LEARNED) for status in (401, 403)],
    ("OpenAICompatible", 401, SCOPES, 401),
    ("OpenAI", 500, SCOPES, 500),
]


@pytest.mark.parametrize(("provider", "status", "words", "read"), READ)
async def test_what_an_answer_means(provider, status, words, read):
    upstream = Upstream(status, words)
    assert await Prober(transport=httpx.MockTransport(upstream)).status(account(provider)) == read


async def test_long_words_are_read_as_far_as_need_be():
    read = []

    async def endless():
        while True:
            read.append(1)
            yield b"x" * 1024

    transport = httpx.MockTransport(lambda _: httpx.Response(400, content=endless()))
    assert await Prober(transport=transport).status(account("Gemini")) == 400
    assert len(read) < 64


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpx.ReadTimeout("slow"), OSError("no")])
async def test_no_answer(error):
    assert await Prober(transport=httpx.MockTransport(Upstream(error))).status(account()) == 0


async def test_an_address_that_makes_no_sense():
    assert await Prober().status(account(base_url="https://[nonsense")) == 0


@contextlib.asynccontextmanager
async def serving(answer, host="127.0.0.1", **more):
    """A server's port. It is over when its last connection is closed: one left open when the loop ends is a warning."""
    server = await asyncio.start_server(answer, host, 0, **more)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        # A server that is closed between accepting a connection and making its transport leaves that open for ever.
        for _ in range(10):
            await asyncio.sleep(0)
        server.close()
        async with asyncio.timeout(60):
            while _connections(server):
                await asyncio.sleep(0.01)


def _connections(server):
    """How many connections are open, those too whose handshake failed; `wait_closed` waits for them only since 3.12."""
    return getattr(server, "_active_count", 0) or len(getattr(server, "_clients", ()))


async def test_silence_ends_at_the_deadline():
    over = asyncio.Event()

    async def silent(_, writer):
        await over.wait()
        writer.close()

    async with serving(silent) as port, asyncio.timeout(60):
        # As long as it pleases: nobody else ends it.
        assert await Prober(deadline_seconds=0.2).status(account(base_url=f"http://127.0.0.1:{port}")) == 0
        over.set()


async def test_a_provider_with_nothing_unbilled_to_ask_is_left_to_time():
    assert await Prober().status(account("Bedrock")) == NOTHING_LEARNED


@pytest.mark.parametrize("base", ["http://8.8.8.8", "https://127.0.0.1", "https://localhost", "https://10.0.0.1:8443"])
async def test_private_and_unencrypted_addresses_only_where_allowed(base):
    upstream = Upstream()
    prober = Prober(transport=httpx.MockTransport(upstream))
    assert await prober.status(account(base_url=base, allow_private_address=False)) == 0
    assert upstream.requests == []


async def test_public_addresses_are_asked():
    upstream = Upstream()
    prober = Prober(transport=httpx.MockTransport(upstream))
    assert await prober.status(account(base_url="https://8.8.8.8", allow_private_address=False)) == 200


@pytest.mark.parametrize(
    ("status", "name"),
    [(200, "ok"), (NOTHING_LEARNED, "unknown"), (401, "refused"), (403, "refused"), (0, "failed"), (500, "failed")],
)
def test_the_name_of_what_a_probe_came_to(status, name):
    assert result(status) == name


async def test_an_authority_of_ones_own(tmp_path):
    """An upstream behind a company's own authority is probed by those who believe it, and by nobody else."""
    authority = trustme.CA()
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(ours)

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    file = tmp_path / "ca.crt"
    authority.cert_pem.write_to_path(file)
    async with serving(answer, "localhost", ssl=ours) as port:
        url = f"https://localhost:{port}"
        for told, expected in ((None, 0), (file, 200)):
            settings = RouterSettings(address="unix:router.sock", catalog_path=file, upstream_ca_file=told)
            prober = Prober(tls=main._upstreams(settings), deadline_seconds=60)
            assert await prober.status(account(base_url=url)) == expected


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read_end_the_start(tmp_path, content):
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    settings = RouterSettings(address="unix:router.sock", catalog_path=file, upstream_ca_file=file)
    with pytest.raises(StartError, match=r"upstream_ca_file .*ca.crt cannot be used: "):
        main._upstreams(settings)


async def test_a_probe_goes_through_the_proxy_that_edges_use():
    """By name, with the proxy's credential for the proxy alone, also where no outside name is known."""
    heads = []

    async def refuse(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with serving(refuse) as port:
        url = f"http://user:pass@127.0.0.1:{port}"
        proxies = Proxies.from_environment({"HTTPS_PROXY": url, "NO_PROXY": "around.invalid"})
        prober = Prober(proxies=proxies, deadline_seconds=20)
        for base in ("https://api.invalid", "https://around.invalid", "https://127.0.0.1:1", "https://10.0.0.1"):
            assert await prober.status(account(base_url=base, allow_private_address=False)) == 0
    [head] = heads
    assert head.startswith(b"CONNECT api.invalid:443 HTTP/1.1\r\n")
    assert head.count(b"Basic dXNlcjpwYXNz\r\n") == 1


def test_a_proxy_that_is_none_is_said_at_the_start(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:hunter2@p:1")
    with pytest.raises(StartError, match="HTTPS_PROXY must be") as error:
        main._proxies()
    assert "hunter2" not in str(error.value)
