"""The Kubernetes API as the operator uses it: one namespace, plain HTTP, a deadline on every call.

Calls that can be repeated are, a few times, when the API is busy or a connection breaks. What remains is a
ClusterError:

    ClusterError
    ├── NotFoundError   404: no such object, or no such kind
    ├── ConflictError   409: it exists already, or it is no longer the object that was meant
    └── RefusedError    400, 403, 413, 422: asking again would not help; the message says what the API says
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx

from penstock_catalog.cluster_access import AccessError, ClusterAccess
from penstock_operator import metrics
from penstock_operator.kinds import EVENT, SECRET, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

Object = dict[str, Any]
"""An object as the API gives it."""

_MAX_REASON: Final = 300
_ATTEMPTS: Final = 3
_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE: Final = 2.0
_AT_ONCE: Final = 8
_PAGE: Final = 500
_LIST_DEADLINES: Final = 4
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_MERGE: Final = "application/merge-patch+json"


class ClusterError(Exception):
    """The API did not do what was asked. The message names objects, never what Secrets hold."""


class NotFoundError(ClusterError):
    """There is no such object, or no such kind."""


class ConflictError(ClusterError):
    """The object exists already, or is no longer the one that was meant."""


class RefusedError(ClusterError):
    """The API will not do this, however often it is asked."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a kind, as they were at one version."""

    objects: tuple[Object, ...]
    resource_version: str


class SecretApi(Protocol):
    """What is done with Secrets: `Cluster`, or a stand-in. All calls raise ClusterError."""

    async def get_secret(self, name: str) -> Object | None:
        """Return a Secret; None when there is none."""

    async def create_secret(self, body: Mapping[str, Any]) -> Object:
        """Create a Secret and return it. ConflictError when there is one of that name."""

    async def patch_secret(self, name: str, patch: Mapping[str, Any]) -> Object:
        """Merge `patch` into a Secret and return it. NotFoundError without; ConflictError by its uid or version."""

    async def delete_secret(self, name: str, *, uid: str = "") -> None:
        """Delete a Secret, unless it is gone. ConflictError when its uid is another."""


class Cluster:
    """The objects of one namespace. Connections and tokens are taken anew after a connection has failed."""

    def __init__(self, access: ClusterAccess, namespace: str = "", *, deadline_seconds: float = 5.0) -> None:
        self.namespace = namespace or access.namespace
        self._access = access
        self._deadline = deadline_seconds
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._link: _Link | None = None

    async def list(self, kind: Kind, *, fields: str = "") -> Listing:
        """Return all objects of a kind, page by page of one version. NotFoundError when the kind is not installed."""
        query = {"limit": str(_PAGE), **({"fieldSelector": fields} if fields else {})}
        objects: list[Object] = []
        path = kind.path(self.namespace)
        while True:
            page = await self._call("GET", path, query=query, deadline=self._deadline * _LIST_DEADLINES)
            items, metadata = page.get("items"), page.get("metadata")
            if not isinstance(items, list | None) or not isinstance(metadata, dict):
                raise ClusterError(f"{self._access.server} answered a list of {kind.plural} with something else")
            # Items of a list do not say what they are.
            said = {"apiVersion": kind.api_version, "kind": kind.name}
            objects += (said | item for item in items or [] if isinstance(item, dict))
            if not metadata.get("continue"):
                return Listing(tuple(objects), str(metadata.get("resourceVersion", "")))
            query["continue"] = metadata["continue"]

    async def get_secret(self, name: str) -> Object | None:
        """Return a Secret; None when there is none."""
        try:
            return await self._call("GET", SECRET.path(self.namespace, name))
        except NotFoundError:
            return None

    async def create_secret(self, body: Mapping[str, Any]) -> Object:
        """Create a Secret and return it. ConflictError when there is one of that name, perhaps by this very call."""
        content = {"apiVersion": SECRET.api_version, "kind": SECRET.name, **body}
        return await self._call("POST", SECRET.path(self.namespace), body=content)

    async def patch_secret(self, name: str, patch: Mapping[str, Any]) -> Object:
        """Merge `patch` into a Secret and return it. A uid or resourceVersion in its metadata guards the call."""
        return await self._call("PATCH", SECRET.path(self.namespace, name), body=patch)

    async def delete_secret(self, name: str, *, uid: str = "") -> None:
        """Delete a Secret, unless it is gone. ConflictError when its uid is another."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **({"preconditions": {"uid": uid}} if uid else {})}
        try:
            await self._call("DELETE", SECRET.path(self.namespace, name), body=body)
        except NotFoundError:
            return

    async def patch_status(self, kind: Kind, name: str, patch: Mapping[str, Any]) -> Object:
        """Merge `patch` into an object's status subresource and return the object."""
        return await self._call("PATCH", kind.path(self.namespace, name, "status"), body=patch)

    async def create_event(self, body: Mapping[str, Any]) -> Object:
        """Create an Event. It is not tried twice: a lost Event is better than the same one again."""
        content = {"apiVersion": EVENT.api_version, "kind": EVENT.name, **body}
        return await self._call("POST", EVENT.path(self.namespace), body=content, attempts=1)

    async def close(self) -> None:
        """Close the connections."""
        link, self._link = self._link, None
        if link is not None:
            await link.retire()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        attempts: int = _ATTEMPTS,
        deadline: float = 0.0,
    ) -> Object:
        """Ask until there is an answer that counts, at most `attempts` times. Raises ClusterError."""
        while True:
            attempts -= 1
            try:
                async with self._gate:
                    response = await self._ask(method, path, query or {}, body, deadline or self._deadline)
                failure = _failure(method, path, response)
                pause = _seconds(response.headers.get("retry-after", ""))
            except _UnreachableError as error:
                response, failure, pause = None, ClusterError(str(error)), 0.0
            if failure is None and response is not None:
                return _json(self._access.server, response)
            again = response is None or response.status_code in _BUSY
            if failure is not None and (not again or attempts <= 0):
                if not isinstance(failure, NotFoundError | ConflictError):
                    metrics.API_FAILURES.labels(method).inc()
                raise failure
            await asyncio.sleep(max(pause, _PAUSE_SECONDS * 2.0 ** (_ATTEMPTS - attempts) * random.uniform(0.5, 1.0)))

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None, deadline: float
    ) -> httpx.Response:
        server = self._access.server
        try:
            headers = self._headers()
            content = None
            if body is not None:
                headers["content-type"] = _MERGE if method == "PATCH" else "application/json"
                content = json.dumps(body, separators=(",", ":")).encode()
            async with self._linked() as client, asyncio.timeout(deadline):
                return await client.request(method, path, params=query, headers=headers, content=content)
        except TimeoutError:
            raise _UnreachableError(f"{server} did not answer in time ({method} {path})") from None
        except (httpx.RequestError, httpx.InvalidURL, ssl.SSLError) as error:
            # Other errors than this one may quote what was sent, such as the token.
            reason = str(error) if isinstance(error, httpx.ConnectError) else type(error).__name__
            raise _UnreachableError(f"{server} cannot be reached: {reason}") from None
        except AccessError as error:
            raise _UnreachableError(str(error)) from None

    def _headers(self) -> dict[str, str]:
        token = self._access.token()
        if not token.isascii() or not token.isprintable():
            raise AccessError("the service account's token is no token: it has characters that no header can carry")
        known = {"accept": "application/json", "user-agent": "penstock-operator"}
        return {**known, "authorization": f"Bearer {token}"} if token else known

    @asynccontextmanager
    async def _linked(self) -> AsyncGenerator[httpx.AsyncClient]:
        """Lend the client. After a failure the next call gets a new one, and the old one closes with its last call."""
        link = self._link
        if link is None:
            link = self._link = _Link(self._access)
        link.calls += 1
        try:
            yield link.client
        except (TimeoutError, httpx.RequestError, ssl.SSLError):
            if self._link is link:
                self._link = None
            link.retired = True
            raise
        finally:
            link.calls -= 1
            await link.close_if_idle()


class _UnreachableError(Exception):
    """There was no answer."""


class _Link:
    """One client and the calls on it."""

    def __init__(self, access: ClusterAccess) -> None:
        transport = httpx.AsyncHTTPTransport(
            verify=access.tls(), limits=httpx.Limits(max_connections=_AT_ONCE, keepalive_expiry=60.0)
        )
        # The deadlines of each call are shorter.
        self.client = httpx.AsyncClient(base_url=access.server, transport=transport, timeout=300.0, trust_env=False)
        self.calls = 0
        self.retired = False

    async def retire(self) -> None:
        """Close when the last call has ended."""
        self.retired = True
        await self.close_if_idle()

    async def close_if_idle(self) -> None:
        """Close if it is retired and unused."""
        if self.retired and self.calls == 0:
            await self.client.aclose()


def _failure(method: str, path: str, response: httpx.Response) -> ClusterError | None:
    status = response.status_code
    if response.is_success:
        return None
    said = f"{method} {path} was answered with {status}{_reason(response.content)}"
    match status:
        case httpx.codes.NOT_FOUND:
            return NotFoundError(said)
        case httpx.codes.CONFLICT:
            return ConflictError(said)
        case 400 | 403 | 413 | 422:
            return RefusedError(said)
    return ClusterError(said)


def _json(server: str, response: httpx.Response) -> Object:
    try:
        found = json.loads(response.content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ClusterError(f"{server} answered with something that is not JSON")
    return found


def _reason(body: bytes) -> str:
    """Return what a Status says; the API's words are about names, verbs, fields and versions."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {message[:_MAX_REASON]}" if isinstance(message, str) else ""


def _seconds(text: str) -> float:
    return min(float(text), _LONGEST_PAUSE) if text.isdecimal() else 0.0
