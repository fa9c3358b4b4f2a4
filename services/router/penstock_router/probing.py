"""Unbilled probes of accounts: whether the credential still opens the list of models."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from penstock_routing import AccountFacts

_AT_ONCE: Final = 8
_NOT_PROBED: Final = 204
"""What is reported for a provider that has nothing unbilled to ask: time alone decides then."""


class Prober:
    """Asks for the list of models with an account's own credential. No redirects, no proxy, no logs."""

    def __init__(self, *, deadline_seconds: float = 10.0, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._deadline = deadline_seconds
        self._transport = transport
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def status(self, account: AccountFacts) -> int:
        """Return the status of the answer; 0 when none came in time, or its address is not allowed."""
        request = _request(account)
        if request is None:
            return _NOT_PROBED
        url, headers = request
        async with self._gate:
            try:
                async with asyncio.timeout(self._deadline):
                    if not account.allow_private_address and await _private(url):
                        return 0
                    return await self._ask(url, headers)
            except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError):
                return 0

    async def _ask(self, url: str, headers: dict[str, str]) -> int:
        async with (
            httpx.AsyncClient(transport=self._transport, timeout=self._deadline, trust_env=False) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            return answer.status_code


def _request(account: AccountFacts) -> tuple[str, dict[str, str]] | None:
    base = account.base_url.rstrip("/")
    match account.provider:
        case "Anthropic":
            return f"{base}/v1/models", {"x-api-key": account.api_key, "anthropic-version": "2023-06-01"}
        case "OpenAI" | "OpenAICompatible":
            return f"{base}/models", {"authorization": f"Bearer {account.api_key}"}
        case "Gemini":
            return f"{base}/v1beta/models", {"x-goog-api-key": account.api_key}
        case _:
            return None


async def _private(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return True
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    return not all(ipaddress.ip_address(str(row[4][0])).is_global for row in found)
