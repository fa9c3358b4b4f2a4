"""Probes: what is asked of whom, and what a missing answer is."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from penstock_router.probing import Prober
from penstock_routing import AccountFacts


def account(provider="Anthropic", base_url="https://api.example.com/", **more):
    return AccountFacts(
        name="a", provider=provider, base_url=base_url, api_key="sk-secret", **{"allow_private_address": True, **more}
    )


class Upstream:
    """Answers with a status, and keeps what it was asked."""

    def __init__(self, status=200):
        self.answer = status
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return httpx.Response(self.answer, headers={"location": "http://elsewhere/"}, json={"data": []})


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
    ("Gemini", "https://g.example.com", "https://g.example.com/v1beta/models", {"x-goog-api-key": "sk-secret"}),
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


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpx.ReadTimeout("slow"), OSError("no")])
async def test_no_answer(error):
    assert await Prober(transport=httpx.MockTransport(Upstream(error))).status(account()) == 0


async def test_an_address_that_makes_no_sense():
    assert await Prober().status(account(base_url="https://[nonsense")) == 0


async def test_silence_ends_at_the_deadline():
    over = asyncio.Event()
    writers = []

    async def silent(_, writer):
        writers.append(writer)
        await over.wait()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    begun = asyncio.get_running_loop().time()
    assert await Prober(deadline_seconds=0.2).status(account(base_url=f"http://127.0.0.1:{port}")) == 0
    assert asyncio.get_running_loop().time() - begun < 2.0
    over.set()
    server.close()
    for writer in writers:
        writer.close()
        await writer.wait_closed()


async def test_a_provider_with_nothing_unbilled_to_ask_is_left_to_time():
    assert await Prober().status(account("Bedrock")) == 204


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
