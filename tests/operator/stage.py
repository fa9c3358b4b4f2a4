"""The operator in this process, before a stand-in of the API server; routers and auths say what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from penstock.auth.v1 import auth_pb2, auth_pb2_grpc
from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_catalog import shards
from penstock_catalog.cluster_access import from_kubeconfig
from penstock_catalog.documents import AuthCatalog, RouterCatalog
from penstock_chassis.rpc import RpcServer
from penstock_operator.main import OperatorService
from penstock_operator.settings import OperatorSettings
from tests.kube import TOKEN, KubeServer

RELEASE = "penstock"


class FakeRouter(router_pb2_grpc.RouterServiceServicer):
    """Loads what is published at once, unless `version` says otherwise. `probes`: statuses by credential."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.version: str | None = None
        self.reasons: dict[str, str] = {}
        self.cooldowns: dict[str, list[router_pb2.Cooldown]] = {}
        self.sessions: dict[str, str] = {}
        self.probes: dict[str, int] = {}
        self.probed: list[tuple[str, str]] = []
        self.turn = 0
        """Raised to have the same said again."""

    async def WatchObserved(self, request: Any, context: Any) -> Any:
        last: Any = None
        while True:
            document = self.stage.router_catalog()
            version = self.version if self.version is not None else document.version if document else ""
            rows = []
            for entry in document.accounts if document is not None and version else ():
                reason = self.reasons.get(
                    entry.name, entry.not_served or ("Ready" if entry.mode == "Active" else entry.mode)
                )
                rows.append(
                    router_pb2.AccountObserved(
                        name=entry.name, ready=reason == "Ready", reason=reason,
                        credential_hash=entry.credential_hash, cooldowns=self.cooldowns.get(entry.name, ()),
                    )
                )  # fmt: skip
            said = router_pb2.Observed(catalog_version=version, accounts=rows, edge_sessions=self.sessions)
            if (said, self.turn) != last:
                last = (said, self.turn)
                yield said
            await asyncio.sleep(0.02)

    async def Probe(self, request: Any, context: Any) -> router_pb2.ProbeResponse:
        self.probed.append((request.account, request.api_key))
        status = self.probes.get(request.api_key, 200)
        results = {200: router_pb2.PROBE_RESULT_OK, 401: router_pb2.PROBE_RESULT_REFUSED}
        return router_pb2.ProbeResponse(result=results.get(status, router_pb2.PROBE_RESULT_FAILED), status=status)


class FakeAuth(auth_pb2_grpc.AuthServiceServicer):
    """Loads what is published at once, unless `version` says otherwise."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.version: str | None = None

    async def WatchObserved(self, request: Any, context: Any) -> Any:
        last = None
        while True:
            document = self.stage.auth_catalog()
            version = self.version if self.version is not None else document.version if document else ""
            if version != last:
                last = version
                yield auth_pb2.Observed(catalog_version=version)
            await asyncio.sleep(0.02)


class Stage:
    """The operator and everything around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kube = KubeServer()
        self.routers = {"r0": FakeRouter(self), "r1": FakeRouter(self)}
        self.auth = FakeAuth(self)
        self.servers: dict[str, RpcServer] = {}
        self.operators: list[OperatorService] = []
        self._documents: dict[tuple[str, ...], Any] = {}

    @property
    def router(self) -> FakeRouter:
        return self.routers["r0"]

    async def serve(self, *names: str) -> None:
        """Start some of r0, r1 and auth."""
        for name in names:
            server = RpcServer(f"unix:{self.folder}/{name}.sock")
            if name == "auth":
                auth_pb2_grpc.add_AuthServiceServicer_to_server(self.auth, server.server)
            else:
                router_pb2_grpc.add_RouterServiceServicer_to_server(self.routers[name], server.server)
            await server.begin()
            self.servers[name] = server

    async def silence(self, name: str) -> None:
        await self.servers.pop(name).end(0.0)

    async def operate(self, *routers: str, kubeconfig: Path | None = None, **settings: Any) -> OperatorService:
        """Start an operator that knows these routers; r0 unless others are named."""
        known = routers or ("r0",)
        told = {
            "router_addresses": ",".join(f"unix:{self.folder}/{name}.sock" for name in known),
            "auth_addresses": f"unix:{self.folder}/auth.sock",
            "debounce_seconds": 0.02,
            "status_seconds": 0.2,
            "api_deadline_seconds": 1.0,
        }
        access = from_kubeconfig(kubeconfig or self.kube.kubeconfig(self.folder))
        made = OperatorService(OperatorSettings(**{**told, **settings}), access)
        await made.start()
        self.operators.append(made)
        return made

    async def operate_with_token_file(self) -> OperatorService:
        """Start one whose token stands in a file that can be replaced."""
        path = self.kube.kubeconfig(self.folder)
        path.write_text(path.read_text().replace(f"token: {TOKEN}", "tokenFile: token"))
        return await self.operate(kubeconfig=path)

    async def stop(self, operator: OperatorService) -> None:
        self.operators.remove(operator)
        await operator.drain(1.0)

    async def end(self) -> None:
        for operator in list(self.operators):
            await self.stop(operator)
        for name in list(self.servers):
            await self.silence(name)
        await self.kube.stop()

    # What is published.

    def router_catalog(self) -> RouterCatalog | None:
        return self._joined(f"{RELEASE}-router-catalog", RouterCatalog)

    def auth_catalog(self) -> AuthCatalog | None:
        return self._joined(f"{RELEASE}-auth-catalog", AuthCatalog)

    def account(self, name: str) -> Any:
        """An account as it is published; None when it is not."""
        document = self.router_catalog()
        return next((entry for entry in document.accounts if entry.name == name), None) if document else None

    def _joined(self, prefix: str, kind: Any) -> Any:
        """The document as a reader would put it together; the last good one while it does not fit."""
        import base64

        known = self._documents.get((prefix,))
        found = [self.kube.get("Secret", name) for name in shards.secret_names(prefix)]
        if found[0] is None:
            return known
        mark = tuple(item["metadata"]["resourceVersion"] if item else "" for item in found)
        if known is not None and self._documents.get((prefix, "mark")) == mark:
            return known
        payloads = [base64.b64decode(item["data"]["payload"]) if item else None for item in found]
        with contextlib.suppress(shards.ShardError):
            head = shards.read_head(payloads[0], kind)
            self._documents[(prefix,)] = shards.join(head, payloads[1:], kind)
            self._documents[(prefix, "mark")] = mark
        return self._documents.get((prefix,))

    # What is waited for.

    async def until(self, holds: Any, seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            value = holds()
            if value:
                return value
            assert time.monotonic() < deadline, f"not within {seconds} s"
            await asyncio.sleep(0.02)

    async def until_said(self, kind: str, name: str, expected: tuple[str, str], condition: str = "Ready") -> None:
        try:
            await self.until(lambda: self.kube.condition(kind, name, condition) == expected)
        except AssertionError:
            raise AssertionError(f"{kind}/{name} {condition}: {self.kube.status(kind, name)}") from None

    async def quiet(self, seconds: float = 0.4) -> Counter[str]:
        """Wait until nothing has been written for a while; then what is written in that time again, if anything."""
        while True:
            before = len(self.kube.asked)
            await asyncio.sleep(seconds)
            if not self.kube.writes(before):
                break
        before = len(self.kube.asked)
        await asyncio.sleep(seconds)
        return self.kube.writes(before)


@contextlib.asynccontextmanager
async def staged() -> Any:
    """A stage with an API server, a router and an auth, and no operator yet."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-stage-"))  # Sockets' paths have to be short.
    stage = Stage(folder)
    await stage.kube.start()
    try:
        await stage.serve("r0", "auth")
        yield stage
    finally:
        await stage.end()
        shutil.rmtree(folder, ignore_errors=True)
