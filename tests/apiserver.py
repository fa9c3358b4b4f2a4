"""A Kubernetes API server for Secrets, on a real socket: versions, watches, RBAC by name, tokens, and bad behaviour."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

NAMESPACE = "gateway"
TOKEN = "token-of-the-first-hour"
EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}


@dataclass
class Answer:
    """What one request is answered with, in place of the truth."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class ApiServer:
    """Start it, put Secrets, and misbehave: `frozen`, `forbidden`, `tokens`, `answers`, `expire`, `stop`."""

    def __init__(self, *, tls=None, port: int = 0) -> None:
        self.port = port
        self.tls = tls
        self.secrets: dict[str, tuple[int, dict[str, bytes]]] = {}
        self.tokens = {TOKEN}
        self.allowed: set[str] | None = None
        self.forbidden: set[str] = set()
        """Verbs that the role does not allow."""
        self.answers: dict[str, Answer] = {}
        """By verb."""
        self.asked: list[tuple[str, str]] = []
        self.frozen = asyncio.Event()
        self._version = 100
        self._compacted = 0
        self._events: list[tuple[int, str, str, dict]] = []
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End, and with it all connections."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._server = None

    def kubeconfig(self, folder: Path, token: str = TOKEN) -> Path:
        """Write one."""
        path = folder / "kubeconfig"
        content = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def put(self, name: str, payload: bytes, key: str = "payload") -> None:
        """Create or replace a Secret."""
        kind = "MODIFIED" if name in self.secrets else "ADDED"
        self._version += 1
        self.secrets[name] = (self._version, {key: payload})
        self._tell(kind, name, self._object(name))

    def delete(self, name: str) -> None:
        gone = self._object(name)
        self._version += 1
        del self.secrets[name]
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell("DELETED", name, gone)

    def bookmark(self) -> None:
        """Send every watch a sign of life."""
        self._version += 1
        self._tell("BOOKMARK", "", {"kind": "Secret", "metadata": {"resourceVersion": str(self._version)}})

    def expire(self) -> None:
        """Forget the past: open watches and those from an old version end with 410."""
        self._version += 1
        self._compacted = self._version
        self._tell("ERROR", "", EXPIRED)

    def count(self, verb: str) -> int:
        return sum(1 for asked, _ in self.asked if asked == verb)

    @property
    def watches(self) -> int:
        return sum(task.get_name() == "watching" for task in self._open)

    def _tell(self, kind, name, thing):
        self._events.append((self._version, kind, name, thing))
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _object(self, name):
        version, data = self.secrets[name]
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": str(version)},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._open.add(task)
        try:
            while True:
                task.set_name("idle")
                request = await reader.readuntil(b"\r\n\r\n")
                await self._answer(request.decode(), reader, writer, task)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, request, reader, writer, task):
        first, *lines = request.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        target = urlsplit(first.split(" ")[1])
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        name = target.path.removeprefix(f"/api/v1/namespaces/{NAMESPACE}/secrets").removeprefix("/")
        verb = "get" if name else "watch" if query.get("watch") == "true" else "list"
        if not name:
            selector, _, name = query.get("fieldSelector", "").partition("=")
            assert selector in ("", "metadata.name")
        self.asked.append((verb, name))
        if self.frozen.is_set():
            await asyncio.sleep(3600)
        status, body, more = self._decide(verb, name, headers)
        if status == 200 and verb == "watch":
            task.set_name("watching")
            watch = asyncio.create_task(self._watch(name, query, writer))
            gone = asyncio.create_task(reader.read(1))
            try:
                await asyncio.wait([watch, gone], return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                watch.cancel()
                ended = await asyncio.gather(gone, watch, return_exceptions=True)
            if isinstance(ended[0], bytes):
                raise ConnectionError
            return
        writer.write(_head(status, {"content-length": len(body), "content-type": "application/json", **more}) + body)
        await writer.drain()

    def _decide(self, verb, name, headers):
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 401, _status(401, "Unauthorized"), {}
        if verb in self.forbidden or not name or (self.allowed is not None and name not in self.allowed):
            return 403, _status(403, f"secrets {name!r} is forbidden"), {}
        if verb in self.answers:
            answer = self.answers[verb]
            return answer.status, answer.body, answer.headers
        if verb == "get":
            if name not in self.secrets:
                return 404, _status(404, f"secrets {name!r} not found"), {}
            return 200, json.dumps(self._object(name)).encode(), {}
        items = [self._object(name)] if name in self.secrets else []
        metadata = {"resourceVersion": str(self._version)}
        return 200, json.dumps({"kind": "SecretList", "metadata": metadata, "items": items}).encode(), {}

    async def _watch(self, name, query, writer):
        version = int(query["resourceVersion"])
        writer.write(_head(200, {"transfer-encoding": "chunked", "content-type": "application/json"}))
        await writer.drain()
        going = version >= self._compacted
        if not going:
            await _send(writer, "ERROR", EXPIRED)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(float(query["timeoutSeconds"])):
                while going:
                    news = self._news
                    due = [event for event in self._events if event[0] > version and event[2] in ("", name)]
                    version = self._version
                    for _, kind, _, thing in due:
                        if self.frozen.is_set():
                            break
                        if kind != "BOOKMARK" or "allowWatchBookmarks" in query:
                            await _send(writer, kind, thing)
                        going = going and kind != "ERROR"
                    if going:
                        await news.wait()
        if self.frozen.is_set():
            await asyncio.sleep(3600)
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _send(writer, kind, thing):
    line = json.dumps({"type": kind, "object": thing}).encode() + b"\n"
    for part in (line[:7], line[7:]):  # Events do not respect packets.
        writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        await writer.drain()


def _status(code, message):
    return json.dumps({"kind": "Status", "code": code, "message": message}).encode()


def _head(status, headers):
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
