"""A whole gateway of real processes around a stand-in of the API server: operator, auth, router, edge and simulator."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.client import exchange, payload
from tests.kube import NAMESPACE, KubeServer, Running
from tests.stack import Simulator, clean_environment, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASE = "penstock"


def custom(kind: str, name: str, /, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": "penstock.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def secret(name: str, **values: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def account(name: str, url: str = "https://api.example.com", **spec: Any) -> dict[str, Any]:
    auth = {"apiKey": {"secretRef": {"name": name, "key": "api-key"}}}
    return custom("UpstreamAccount", name, **{"provider": "Anthropic", "baseURL": url, "auth": auth, **spec})


def api_key(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    said = {"project": "demo", "planRef": {"name": "open"}, "secretName": f"{name}-key", **spec}
    return custom("APIKey", name, annotations, **said)


def plan(name: str = "open", **spec: Any) -> dict[str, Any]:
    return custom("Plan", name, **spec)


class World:
    """The processes, and what people do and see."""

    def __init__(
        self, folder: Path, kube: KubeServer, running: Running, accounts: tuple[str, ...] = ("a", "b")
    ) -> None:
        self.folder = folder
        self.kube = kube
        self.running = running
        self.simulator = Simulator(folder, accounts)
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kubeconfig = kube.kubeconfig(folder)

    def _told(self, name: str) -> dict[str, str]:
        sockets = {one: f"unix:{self.folder}/{one}.sock" for one in ("auth", "router")}
        told = {"NAME": f"{name}-0", "RUN_DIR": str(self.folder / "run")}
        match name:
            case "operator":
                addresses = {f"{one.upper()}_ADDRESSES": address for one, address in sockets.items()}
                return {**told, **addresses, "NAMESPACE": NAMESPACE, "RELEASE": RELEASE, "STATUS_SECONDS": "0.5"}
            case "edge":
                addresses = {f"{one.upper()}_ADDRESS": address for one, address in sockets.items()}
                return {**told, **addresses, "PORT": str(self.port), "SPOOL_DIR": str(self.folder / "spool")}
            case "auth":
                told["DATABASE_URL"] = f"sqlite:///{self.folder}/ledger.db"
        return {**told, "ADDRESS": sockets[name], "CATALOG_SECRETS": f"{RELEASE}-{name}-catalog"}

    def start(self, *names: str) -> None:
        for name in names:
            variables = {f"PENSTOCK_{name.upper()}_{field}": value for field, value in self._told(name).items()}
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", f"penstock_{name}.main"],
                    env=clean_environment(KUBECONFIG=str(self.kubeconfig), **variables),
                    stderr=log,
                    cwd=self.folder,
                )

    def stop(self, name: str, *, kill: bool = False) -> int:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def end(self) -> None:
        for name in ("edge", "operator", "router", "auth"):
            if name in self.processes:
                self.stop(name)
        self.simulator.end()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def readiness(self, name: str) -> tuple[bool, str]:
        """What /readyz says."""
        try:
            port = json.loads((self.folder / "run" / f"{name}-0.json").read_text())["metrics_port"]
            answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).json()
        except (OSError, httpx.TransportError):
            return False, ""
        return answer["ready"], answer["reason"]

    def metric(self, name: str, metric: str) -> float:
        port = json.loads((self.folder / "run" / f"{name}-0.json").read_text())["metrics_port"]
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(metric))

    def await_ready(self, *names: str) -> None:
        for name in names:
            wait_until(f"{name} is ready", lambda name=name: self.readiness(name)[0], 60)

    def apply_account(self, name: str, key: str = "", **spec: Any) -> None:
        """An account that the simulator plays."""
        spec = {"allowPrivateAddress": "Allow", **spec}
        self.kube.apply(secret(name, **{"api-key": key or f"sim-key-{name}"}))
        self.kube.apply(account(name, self.simulator.url, **spec))

    def await_condition(self, kind: str, name: str, expected: tuple[str, str], condition: str = "Ready") -> float:
        """Wait until a condition says this; return how long it took."""
        begun = time.monotonic()
        try:
            wait_until(f"{name}: {condition}", lambda: self.kube.condition(kind, name, condition) == expected, 120)
        except AssertionError:
            raise AssertionError(
                f"{kind}/{name}: {json.dumps(self.kube.status(kind, name), indent=1)}\n{self.log('operator')[-3000:]}"
            ) from None
        return time.monotonic() - begun

    def issued(self, name: str) -> str:
        """The text of a key's Secret."""
        held = wait_until(f"{name} is issued", lambda: self.kube.get("Secret", f"{name}-key"))
        return base64.b64decode(held["data"]["api-key"]).decode()

    def ask(self, key: str, directive: str = "", **more: Any) -> Any:
        """One request through the edge."""
        return asyncio.run(exchange(self.port, key, payload(directive, **more)))


@contextmanager
def world(folder: Path, *processes: str) -> Iterator[World]:
    """Such a world, with these of its processes started."""
    running = KubeServer().in_thread()
    with running as kube:
        made = World(folder, kube, running)
        try:
            made.start(*processes)
            yield made
        finally:
            made.end()
