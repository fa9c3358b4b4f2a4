"""Unbilled probes of accounts: whether the credential still opens the list of models."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from penstock_chassis.proxies import Proxies

if TYPE_CHECKING:
    import ssl

    from penstock_routing import AccountFacts

NOTHING_LEARNED: Final = 204
"""What is reported where a probe can tell nothing: time alone decides then."""

_AT_ONCE: Final = 8
_MOST_BYTES: Final = 16_384
_REFUSED: Final = 401
_LIST_MISSING: Final = frozenset({404, 405, 501})
_DIRECT: Final = Proxies({})


class Prober:
    """Asks for the list of models with an account's own credential. No redirects, no logs."""

    def __init__(
        self,
        *,
        deadline_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
        proxies: Proxies = _DIRECT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._deadline = deadline_seconds
        self._tls = tls
        self._proxies = proxies
        self._transport = transport
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def status(self, account: AccountFacts) -> int:
        """Return the status of the answer, as `verdict` reads it; 0 when none came in time, or its address may not be.

        A provider with nothing unbilled to ask teaches nothing.
        """
        request = _request(account)
        if request is None:
            return NOTHING_LEARNED
        url, headers = request
        async with self._gate:
            try:
                async with asyncio.timeout(self._deadline):
                    proxy = self._proxy(url)
                    if not account.allow_private_address and await _private(url, resolved_here=proxy is None):
                        return 0
                    return verdict(account.provider, *await self._ask(url, headers, proxy))
            except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError):
                return 0

    def _proxy(self, url: str) -> httpx.Proxy | None:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = self._proxies.choose(parts.scheme, parts.hostname or "", port)
        if found is None:
            return None
        host = f"[{found.host}]" if ":" in found.host else found.host
        headers = {"proxy-authorization": found.authorization.decode()} if found.authorization else {}
        return httpx.Proxy(f"http://{host}:{found.port}", headers=headers)

    async def _ask(self, url: str, headers: dict[str, str], proxy: httpx.Proxy | None) -> tuple[int, bytes]:
        """Return the answer's status and, when it is a refusal, the beginning of its words."""
        async with (
            httpx.AsyncClient(
                transport=self._transport,
                proxy=proxy,
                timeout=self._deadline,
                trust_env=False,
                verify=self._tls or True,
            ) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            words = b""
            if 400 <= answer.status_code < 500:
                async for chunk in answer.aiter_bytes():
                    words += chunk
                    if len(words) >= _MOST_BYTES:
                        break
            return answer.status_code, words[:_MOST_BYTES]


def verdict(provider: str, status: int, words: bytes) -> int:
    """Return what an answer means for the credential: 2xx it is good, 401 and 403 it is dead, else the status as it is.

    Gemini says with 400 or 403 what others say with 401. A restricted key of OpenAI may lack the right to list models
    and still do everything else. Servers that only speak as OpenAI does may have no list.
    """
    if provider == "Gemini" and (status == 403 or (status == 400 and b"API_KEY_INVALID" in words)):
        return _REFUSED
    if provider == "OpenAI" and status in {401, 403} and b"Missing scopes" in words:
        return NOTHING_LEARNED
    if provider == "OpenAICompatible" and status in _LIST_MISSING:
        return NOTHING_LEARNED
    return status


def result(status: int) -> str:
    """Name what a probe came to, for the metric."""
    if status == NOTHING_LEARNED:
        return "unknown"
    if 200 <= status < 300:
        return "ok"
    return "refused" if status in {401, 403} else "failed"


def _request(account: AccountFacts) -> tuple[str, dict[str, str]] | None:
    base = account.base_url.rstrip("/")
    match account.provider:
        case "Anthropic":
            return f"{base}/v1/models", {"x-api-key": account.api_key, "anthropic-version": "2023-06-01"}
        case "OpenAI" | "OpenAICompatible":
            return f"{base}/models", {"authorization": f"Bearer {account.api_key}"}
        case "Gemini":
            return f"{base}/v1beta/models?pageSize=1", {"x-goog-api-key": account.api_key}
        case _:
            return None


async def _private(url: str, *, resolved_here: bool) -> bool:
    """Whether a URL leads inside. Behind a proxy a name that is not known here leads where the proxy resolves it."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return True
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        if resolved_here:
            raise
        return False
    return not all(ipaddress.ip_address(str(row[4][0])).is_global for row in found)
