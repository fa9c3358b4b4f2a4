"""Secrets through the Kubernetes API, one by name at a time, with a deadline on every wait.

A role that names its Secrets allows `get` by name, and `list` and `watch` with the field selector `metadata.name` only:
so nothing else is asked for. The API is three calls of plain HTTP; see docs/decisions/0010.
"""

import asyncio
import base64
import json
import random
import socket
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from penstock_catalog.cluster_access import AccessError, ClusterAccess
from penstock_catalog.shards import PAYLOAD

_MAX_REASON = 300
_SHORTEST_WATCH_SECONDS = 0.5
_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, option), value)
        for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, option)
    ),
]


class ClusterError(Exception):
    """The API did not give what was asked for. The message names Secrets, never what they hold."""

    def __init__(self, message: str, *, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause
        """For how long the API wants to be left alone, in seconds."""


class ExpiredError(ClusterError):
    """A watch's starting point is too old: look anew."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a Secret held, and from where to watch it. None: there is no such Secret, or it has no payload."""

    payload: bytes | None
    resource_version: str


class ClusterSecrets:
    """The Secrets of one namespace. Connections are made anew, with fresh files, after any of them failed."""

    def __init__(
        self,
        access: ClusterAccess,
        namespace: str = "",
        *,
        deadline_seconds: float = 5.0,
        watch_seconds: float = 60.0,
    ) -> None:
        self.namespace = namespace or access.namespace
        self._access = access
        self._deadline_seconds = deadline_seconds
        self._watch_seconds = watch_seconds
        self._path = f"/api/v1/namespaces/{self.namespace}/secrets"
        self._kept: httpx.AsyncClient | None = None

    async def get(self, name: str) -> bytes | None:
        """Return a Secret's payload. Raises ClusterError."""
        status, found = await self._json("get", name, f"{self._path}/{name}", {})
        return None if status == httpx.codes.NOT_FOUND else _payload(found)

    async def look(self, name: str) -> Look:
        """Return a Secret's payload and the place from where its changes can be watched. Raises ClusterError."""
        _, found = await self._json("list", name, self._path, _selecting(name))
        items, metadata = found.get("items"), found.get("metadata")
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if not isinstance(version, str) or not version or not isinstance(items, list | None):
            raise ClusterError(f"{self._access.server} answered a list with something else")
        mine = [item for item in items or [] if _is_named(item, name)]
        return Look(_payload(mine[0]) if mine else None, version)

    async def changed(self, name: str, resource_version: str) -> bool:
        """Wait until a Secret changes; False after about a minute in which it did not. Raises ClusterError."""
        lasting = max(1, int(self._watch_seconds * random.uniform(1.0, 1.25)))
        query = {
            **_selecting(name),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(lasting),
        }
        begun = time.monotonic()
        async with self._answer("watch", name, self._path, query) as (response, deadline):
            if response.status_code == httpx.codes.GONE:
                raise ExpiredError(f"the watch of Secret {name} has expired")
            await self._check("watch", name, response)
            # The API ends a watch in time; one that does not is one whose connection has died in silence.
            deadline.reschedule(asyncio.get_running_loop().time() + lasting + self._deadline_seconds)
            async for line in response.aiter_lines():
                if line and _tells_a_change(line, name):
                    return True
        if time.monotonic() - begun < _SHORTEST_WATCH_SECONDS:
            raise ClusterError(f"{self._access.server} ends watches as soon as they begin")
        return False

    async def close(self) -> None:
        """Close the connections."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.aclose()

    async def _json(self, verb: str, name: str, path: str, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        async with self._answer(verb, name, path, query) as (response, _):
            if verb != "get" or response.status_code != httpx.codes.NOT_FOUND:
                await self._check(verb, name, response)
            try:
                found = json.loads(await response.aread())
            except ValueError:
                found = None
            if not isinstance(found, dict):
                raise ClusterError(f"{self._access.server} answered with something that is not JSON")
            return response.status_code, found

    @asynccontextmanager
    async def _answer(
        self, verb: str, name: str, path: str, query: dict[str, str]
    ) -> AsyncGenerator[tuple[httpx.Response, asyncio.Timeout]]:
        """Ask, within the deadline. What goes wrong with the connection becomes a ClusterError."""
        try:
            async with asyncio.timeout(self._deadline_seconds) as deadline:
                async with self._client().stream("GET", path, params=query, headers=self._headers()) as response:
                    yield response, deadline
        except TimeoutError:
            await self.close()
            raise ClusterError(f"{self._access.server} did not answer in time ({verb} Secret {name})") from None
        except (httpx.RequestError, httpx.InvalidURL, ssl.SSLError) as error:
            await self.close()
            # Other errors than this one may quote what was sent, such as the token.
            reason = str(error) if isinstance(error, httpx.ConnectError) else type(error).__name__
            raise ClusterError(f"{self._access.server} cannot be reached: {reason}") from None
        except AccessError as error:
            raise ClusterError(str(error)) from None

    async def _check(self, verb: str, name: str, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        await response.aread()
        if status == httpx.codes.UNAUTHORIZED:
            raise ClusterError(f"{self._access.server} does not know this token (401); it is read anew for each call")
        if status == httpx.codes.FORBIDDEN:
            raise ClusterError(
                f"{verb} Secret {name} in namespace {self.namespace} is forbidden: "
                "the service account's role must allow get, list and watch on it by name"
            )
        raise ClusterError(
            f"{self._access.server} answered {verb} Secret {name} with {status}{_reason(response.content)}",
            pause=_seconds(response.headers.get("retry-after", "")),
        )

    def _headers(self) -> dict[str, str]:
        token = self._access.token()
        if not token.isascii() or not token.isprintable():
            raise AccessError("the service account's token is no token: it has characters that no header can carry")
        known = {"accept": "application/json", "user-agent": "penstock"}
        return {**known, "authorization": f"Bearer {token}"} if token else known

    def _client(self) -> httpx.AsyncClient:
        if self._kept is None:
            transport = httpx.AsyncHTTPTransport(verify=self._access.tls(), socket_options=_KEEPALIVE)
            self._kept = httpx.AsyncClient(
                base_url=self._access.server,
                transport=transport,
                timeout=2 * (self._watch_seconds + self._deadline_seconds),  # The deadlines of each call are shorter.
                trust_env=False,
            )
        return self._kept


def _selecting(name: str) -> dict[str, str]:
    return {"fieldSelector": f"metadata.name={name}"}


def _is_named(item: object, name: str) -> bool:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    return isinstance(metadata, dict) and metadata.get("name") == name


def _payload(secret: dict[str, Any]) -> bytes | None:
    data = secret.get("data")
    encoded = data.get(PAYLOAD) if isinstance(data, dict) else None
    try:
        return base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else None
    except ValueError:
        return None


def _tells_a_change(line: str, name: str) -> bool:
    """Tell whether a watch's event is more than a sign of life. Raises ClusterError for one that ends the watch."""
    try:
        event = json.loads(line)
        kind, subject = event["type"], event["object"]
        if kind == "ERROR" and subject.get("code") == httpx.codes.GONE:
            raise ExpiredError(f"the watch of Secret {name} has expired")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ClusterError(f"the watch of Secret {name} brought something that is no event") from None
    if kind == "ERROR":
        raise ClusterError(f"the watch of Secret {name} has failed with {subject.get('code')}")
    return bool(kind != "BOOKMARK")


def _reason(body: bytes) -> str:
    """Return what a Status says; the API's words are about names, verbs and versions."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {message[:_MAX_REASON]}" if isinstance(message, str) else ""


def _seconds(text: str) -> float:
    return min(float(text), 30.0) if text.isdecimal() else 0.0
