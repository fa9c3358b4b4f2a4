"""A Kubernetes API server for tests and benchmarks: our kinds, Secrets and Events, on a real socket.

It has what an operator can stumble over: resource versions and conflicts, lists in pages, watches that end, expire and
fall silent, merge patches, status subresources, generations, owner references, and bad behaviour: `frozen`, `failing`,
`stop` and `start` again. It has no schemas, no CEL and no roles; those need a real one.
"""

from __future__ import annotations

import asyncio
import copy
import json
import threading
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

import yaml

from penstock_chassis.http import HttpServer, listen

NAMESPACE = "gateway"
TOKEN = "token-of-the-first-hour"
GROUP = "penstock.dev"
CUSTOM = {"upstreamaccounts": "UpstreamAccount", "models": "Model", "plans": "Plan", "apikeys": "APIKey"}
CORE = {"secrets": "Secret", "events": "Event"}
PLURALS = {kind: plural for plural, kind in {**CUSTOM, **CORE}.items()}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


class KubeServer:
    """Start it on a loop with `async with`, or with `in_thread()`. All of it may be called from any thread."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.tokens = {TOKEN}
        self.frozen = False
        self.failing: list[int] = []
        """Statuses with which the next calls are answered."""
        self.refused: dict[tuple[str, str], int] = {}
        """Statuses by (method, plural) with which calls are answered for as long as they stand here."""
        self.asked: list[tuple[str, str, str]] = []
        """(method, plural, name) of every call; a watch's method is WATCH, a status's plural `plans/status`."""
        self.delay = 0.0
        self._lock = threading.RLock()
        self._objects: dict[str, dict[str, dict[str, Any]]] = {plural: {} for plural in PLURALS.values()}
        self._version = 1000
        self._compacted = 0
        self._log: dict[str, list[tuple[int, str, dict[str, Any]]]] = {plural: [] for plural in PLURALS.values()}
        self._news: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http: HttpServer | None = None
        self._generation = 0

    # Life.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        listener = listen("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._news = {plural: asyncio.Event() for plural in PLURALS.values()}
        self._generation += 1
        self._http = HttpServer(self._app, [listener], timeout_graceful_shutdown=1, interface="asgi3")
        await self._http.begin()

    async def stop(self) -> None:
        """End, and with it all connections."""
        http, self._http = self._http, None
        self._generation += 1
        self._wake(*self._news)
        if http is not None:
            await http.end(0.1)

    def in_thread(self) -> Running:
        """Serve in a thread, for tests that are not asynchronous."""
        return Running(self)

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

    # What users do.

    def apply(self, *documents: dict[str, Any]) -> None:
        """Create or replace objects as `kubectl apply` would; statuses stay."""
        for document in documents:
            plural = PLURALS[document["kind"]]
            name = document["metadata"]["name"]
            with self._lock:
                if name in self._objects[plural]:
                    known = self._objects[plural][name]
                    wanted = {"metadata": {k: document["metadata"].get(k) for k in ("annotations", "labels")}}
                    fresh = {**copy.deepcopy(known), **{k: v for k, v in document.items() if k != "metadata"}}
                    fresh["metadata"] = {**known["metadata"], **{k: v for k, v in wanted["metadata"].items() if v}}
                    self._store(plural, fresh, known, status=False)
                else:
                    self._create(plural, copy.deepcopy(document))

    def delete(self, kind: str, name: str) -> None:
        """Delete an object and all that belongs to it."""
        with self._lock:
            self._remove(PLURALS[kind], name)

    def vanish(self, kind: str, name: str) -> None:
        """Delete an object so that no watch tells of it, as when all of it happens during an outage."""
        with self._lock:
            plural = PLURALS[kind]
            self._version += 1
            del self._objects[plural][name]
            self._compacted = self._version
            self._log[plural] = []

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        with self._lock:
            return copy.deepcopy(self._objects[PLURALS[kind]].get(name))

    def all(self, kind: str) -> list[dict[str, Any]]:
        with self._lock:
            return copy.deepcopy(list(self._objects[PLURALS[kind]].values()))

    def status(self, kind: str, name: str) -> dict[str, Any]:
        return (self.get(kind, name) or {}).get("status") or {}

    def condition(self, kind: str, name: str, condition: str = "Ready") -> tuple[str, str]:
        """(status, reason) of a condition; two blanks when there is none."""
        rows = self.status(kind, name).get("conditions", [])
        return next(((row["status"], row["reason"]) for row in rows if row["type"] == condition), ("", ""))

    def events(self, name: str = "") -> list[tuple[str, str, str]]:
        """(type, reason, message) of the Events about objects of a name."""
        return [
            (event["type"], event["reason"], event["message"])
            for event in self.all("Event")
            if not name or event["involvedObject"]["name"] == name
        ]

    def expire(self) -> None:
        """Forget the past: open watches, and those from an old version, end with 410."""
        with self._lock:
            self._version += 1
            self._compacted = self._version
            for log in self._log.values():
                log.clear()
        self._wake(*self._news)

    def writes(self, since: int = 0) -> Counter[str]:
        """Count the calls that changed something, by plural."""
        return Counter(
            plural for method, plural, _ in self.asked[since:] if method in {"POST", "PATCH", "PUT", "DELETE"}
        )

    # The store.

    def _create(self, plural: str, item: dict[str, Any]) -> dict[str, Any]:
        metadata = item.setdefault("metadata", {})
        metadata |= {
            "namespace": NAMESPACE,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "managedFields": [{"manager": "kubectl", "operation": "Update"}],
        }
        if plural in CUSTOM:
            metadata["generation"] = 1
            item.pop("status", None)
        return self._store(plural, item, None)

    def _store(
        self, plural: str, item: dict[str, Any], known: dict[str, Any] | None, *, status: bool = True
    ) -> dict[str, Any]:
        if plural == "secrets" and "stringData" in item:
            import base64

            plain = item.pop("stringData")
            item["data"] = {
                **item.get("data", {}),
                **{k: base64.b64encode(v.encode()).decode() for k, v in plain.items()},
            }
        if known is not None:
            same = {k: v for k, v in item["metadata"].items() if k != "resourceVersion"} == {
                k: v for k, v in known["metadata"].items() if k != "resourceVersion"
            }
            if same and all(item.get(k) == known.get(k) for k in (item.keys() | known.keys()) - {"metadata"}):
                return known  # The API does not write what is not changed.
            if not status and "status" in known:
                item["status"] = known["status"]
            if plural in CUSTOM and item.get("spec") != known.get("spec"):
                item["metadata"]["generation"] = known["metadata"]["generation"] + 1
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        self._objects[plural][item["metadata"]["name"]] = item
        self._tell(plural, "ADDED" if known is None else "MODIFIED", item)
        return item

    def _remove(self, plural: str, name: str) -> dict[str, Any]:
        item = copy.deepcopy(self._objects[plural].pop(name))
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        self._tell(plural, "DELETED", item)
        uid = item["metadata"]["uid"]
        for other, objects in self._objects.items():
            for dependent in list(objects.values()):
                owners = dependent["metadata"].get("ownerReferences") or []
                if owners and all(owner.get("uid") == uid for owner in owners):
                    self._remove(other, dependent["metadata"]["name"])
        return item

    def _tell(self, plural: str, kind: str, item: dict[str, Any]) -> None:
        self._log[plural].append((self._version, kind, copy.deepcopy(item)))
        if len(self._log[plural]) > 20_000:
            del self._log[plural][:10_000]
        self._wake(plural)

    def _wake(self, *plurals: str) -> None:
        def wake() -> None:
            for plural in plurals:
                news, self._news[plural] = self._news[plural], asyncio.Event()
                news.set()

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(wake)

    # HTTP.

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        method, path = scope["method"], scope["path"]
        plural, name, below = _parse(path)
        watching = query.get("watch") == "true"
        self.asked.append(("WATCH" if watching else method, f"{plural}/{below}" if below else plural, name))
        while self.frozen:
            await asyncio.sleep(0.05)
        if self.delay:
            await asyncio.sleep(self.delay)
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            await _answer(send, 401, _status(401, "Unauthorized"))
            return
        if self.failing:
            status = self.failing.pop(0)
            await _answer(send, status, _status(status, "as it was told"))
            return
        if (method, plural) in self.refused:
            status = self.refused[method, plural]
            await _answer(send, status, _status(status, "as it was told"))
            return
        if not plural:
            await _answer(send, *_discovery(path))
            return
        if watching:
            await self._watch(plural, query, receive, send)
            return
        with self._lock:
            status, answer = self._do(method, plural, name, below, query, json.loads(body) if body else {})
            content = json.dumps(answer).encode()
        await _answer(send, status, content)

    def _do(
        self, method: str, plural: str, name: str, below: str, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, Any]:
        objects = self._objects[plural]
        if method == "GET" and not name:
            return 200, self._list(plural, query)
        if method == "POST":
            name = body["metadata"].get("name", "")
            if name in objects:
                return 409, _words(409, f"{plural} {name!r} already exists")
            return 201, self._create(plural, body)
        if name not in objects:
            return 404, _words(404, f"{plural} {name!r} not found")
        known = objects[name]
        if method == "GET":
            return 200, known
        if method == "DELETE":
            uid = (body.get("preconditions") or {}).get("uid")
            if uid and uid != known["metadata"]["uid"]:
                return 409, _words(409, "Precondition failed: UID in precondition")
            return 200, self._remove(plural, name)
        guard = body.get("metadata", {})
        if guard.get("resourceVersion") not in (None, known["metadata"]["resourceVersion"]):
            return 409, _words(409, "the object has been modified; please apply your changes to the latest version")
        if guard.get("uid") not in (None, known["metadata"]["uid"]):
            return 409, _words(409, "Precondition failed: UID in object meta")
        if below == "status":
            fresh = {**known, "status": _merged(known.get("status") or {}, body.get("status") or {})}
            return 200, self._store(plural, {**fresh, "metadata": dict(known["metadata"])}, known)
        fresh = _merged(copy.deepcopy(known), body)
        return 200, self._store(plural, fresh, known, status=plural not in CUSTOM)

    def _list(self, plural: str, query: dict[str, str]) -> dict[str, Any]:
        items = sorted(self._objects[plural].values(), key=lambda item: item["metadata"]["name"])
        selector = query.get("fieldSelector", "")
        if selector.startswith("metadata.name="):
            items = [item for item in items if item["metadata"]["name"] == selector.partition("=")[2]]
        elif selector.startswith("type!="):
            items = [item for item in items if item.get("type") != selector.partition("!=")[2]]
        start, limit = int(query.get("continue", "0")), int(query.get("limit", "0")) or len(items) or 1
        metadata = {"resourceVersion": str(self._version)}
        if start + limit < len(items):
            metadata["continue"] = str(start + limit)
        # Items of a list have neither kind nor apiVersion.
        page = [
            {k: v for k, v in item.items() if k not in {"kind", "apiVersion"}} for item in items[start : start + limit]
        ]
        group = "v1" if plural in CORE else f"{GROUP}/v1alpha1"
        return {"kind": f"{_kind(plural)}List", "apiVersion": group, "metadata": metadata, "items": page}

    async def _watch(self, plural: str, query: dict[str, str], receive: Any, send: Any) -> None:
        version = int(query.get("resourceVersion") or self._version)
        life = self._generation
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        gone = asyncio.create_task(receive())
        selected = query.get("fieldSelector", "").partition("metadata.name=")[2]
        try:
            async with asyncio.timeout(float(query.get("timeoutSeconds", "300"))):
                while not gone.done() and life == self._generation:
                    news = self._news[plural]
                    if self.frozen:
                        await asyncio.sleep(0.05)
                        continue
                    if version < self._compacted:
                        await _event(send, "ERROR", _words(410, "too old resource version"))
                        break
                    with self._lock:
                        due = [row for row in self._log[plural] if row[0] > version]
                        version = self._version
                    for _, kind, item in due:
                        if not selected or item["metadata"]["name"] == selected:
                            await _event(send, kind, item)
                    waiting = asyncio.create_task(news.wait())
                    await asyncio.wait([waiting, gone], return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
        except TimeoutError:
            pass
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})


class Running:
    """A server in a thread of its own."""

    def __init__(self, server: KubeServer) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kube", daemon=True)

    def __enter__(self) -> KubeServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(10)
        return self.server

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(10)

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(10)


def _parse(path: str) -> tuple[str, str, str]:
    """(plural, name, subresource); blanks for discovery."""
    for root in ("/api/v1", f"/apis/{GROUP}/v1alpha1"):
        start = f"{root}/namespaces/{NAMESPACE}/"
        if path.startswith(start):
            plural, name, below = [*path.removeprefix(start).split("/"), "", ""][:3]
            return (plural, name, below) if plural in PLURALS.values() else ("", "", "")
    return "", "", ""


def _discovery(path: str) -> tuple[int, bytes]:
    resources = {"/api/v1": CORE, f"/apis/{GROUP}/v1alpha1": CUSTOM}
    version = {"groupVersion": f"{GROUP}/v1alpha1", "version": "v1alpha1"}
    match path:
        case "/api":
            found: Any = {"kind": "APIVersions", "versions": ["v1"]}
        case "/apis":
            group = {"name": GROUP, "versions": [version], "preferredVersion": version}
            found = {"kind": "APIGroupList", "groups": [group]}
        case "/version":
            found = {"major": "1", "minor": "36"}
        case _ if path in resources:
            rows = [
                {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": True, "verbs": VERBS}
                for plural, kind in resources[path].items()
            ]
            rows += [{**row, "name": f"{row['name']}/status"} for row in rows if resources[path] is CUSTOM]
            if path == "/api/v1":  # kopf waits until it has seen them, and does nothing with them.
                rows.append({**rows[0], "name": "namespaces", "singularName": "namespace", "kind": "Namespace"})
                rows[-1]["namespaced"] = False
            found = {"kind": "APIResourceList", "resources": rows}
        case _:
            return 404, _status(404, f"the server could not find {path}")
    return 200, json.dumps(found).encode()


def _kind(plural: str) -> str:
    return {**CUSTOM, **CORE}[plural]


def _merged(known: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(known) if isinstance(known, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _words(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "code": code, "message": message}


def _status(code: int, message: str) -> bytes:
    return json.dumps(_words(code, message)).encode()


async def _answer(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _event(send: Any, kind: str, item: Any) -> None:
    line = json.dumps({"type": kind, "object": item}).encode() + b"\n"
    await send({"type": "http.response.body", "body": line, "more_body": True})
