"""Operator, router, auth and edge as processes of this machine, each as its ServiceAccount, around a real API server.

The tests stand in for the kubelet: they mount what the operator issues. Nothing here needs a pod.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.client import Exchange, exchange, payload
from tests.cluster import kubernetes as k8s
from tests.cluster.conftest import patience
from tests.cluster.kubernetes import ACCOUNT, API_KEY, EVENT, GROUP_VERSION, PLAN, SECRET, Kind, Kubernetes, eventually
from tests.cluster.release import Helm, apply_access
from tests.stack import Simulator, clean_environment, free_port

Json = Any
GRPC = ("auth", "router")
NEEDS_API = ("operator", "router", "auth")
ACCOUNTS = tuple("abcdefgh")
"""Those that the simulator plays: the credential is `sim-key-<name>`."""


class Fleet:
    """The processes of one release. They end with the test, whatever becomes of it."""

    def __init__(self, inside: Kubernetes, folder: Path) -> None:
        self.api = inside
        self.folder = folder
        self.helm = Helm(inside)
        self.release = self.helm.fullname
        self.domain = f"{self.release}.{inside.namespace}.penstock.internal"
        apply_access(inside, self.helm.template())
        self.simulator = Simulator(folder, ACCOUNTS)
        self.ports = {name: free_port() for name in ("auth", "router", "edge")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in NEEDS_API:
            token = inside.token_of(f"{self.release}-{name}", 6 * 3600)
            inside.acting(token, folder / f"{name}.kubeconfig").close()

    def start(self, name: str) -> None:
        """Start one process; it is not waited for."""
        told = {"NAME": f"{self.release}-{name}-0", "RUN_DIR": str(self.folder / "run"), "TLS_DOMAIN": self.domain}
        told |= getattr(self, f"_{name}")()
        if name != "operator":
            mounted = self.mount(name)
            told |= {"TLS_CERT_FILE": str(mounted / "tls.crt"), "TLS_KEY_FILE": str(mounted / "tls.key")}
            told |= {"TLS_CA_FILE": str(mounted / "ca.crt"), "TLS_POLL_SECONDS": "0.2"}
        environment = clean_environment(**{f"PENSTOCK_{name.upper()}_{field}": value for field, value in told.items()})
        environment.pop("KUBECONFIG", None)
        if name in NEEDS_API:
            environment["KUBECONFIG"] = str(self.folder / f"{name}.kubeconfig")
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"penstock_{name}.main"], env=environment, stderr=log, cwd=self.folder
            )

    def _operator(self) -> dict[str, str]:
        return {
            "NAMESPACE": self.api.namespace,
            "RELEASE": self.release,
            "ROUTER_ADDRESSES": f"127.0.0.1:{self.ports['router']}",
            "AUTH_ADDRESSES": f"127.0.0.1:{self.ports['auth']}",
            "CERTIFICATES": "Issue",
            "TLS_DIR": str(self.folder / "operator-tls"),
            "AUTHORITY_STEP_SECONDS": "8",
            "ADMIN_TOKEN_SECRET": f"{self.release}-admin",
            "STATUS_SECONDS": "1",
        }

    def _serving(self, name: str) -> dict[str, str]:
        catalog = {"CATALOG_SECRETS": f"{self.release}-{name}-catalog", "CATALOG_NAMESPACE": self.api.namespace}
        return {"ADDRESS": f"127.0.0.1:{self.ports[name]}"} | catalog

    def _router(self) -> dict[str, str]:
        return self._serving("router")

    def _auth(self) -> dict[str, str]:
        return self._serving("auth") | {"DATABASE_URL": f"sqlite:///{self.folder}/ledger.db"}

    def _edge(self) -> dict[str, str]:
        return {
            "PORT": str(self.ports["edge"]),
            "SPOOL_DIR": str(self.folder / "spool"),
            "AUTH_ADDRESS": f"127.0.0.1:{self.ports['auth']}",
            "ROUTER_ADDRESS": f"127.0.0.1:{self.ports['router']}",
        }

    def mount(self, component: str) -> Path:
        """Write a component's certificate as a kubelet would, as soon as there is one."""
        name = f"{self.release}-{component}-tls"
        held = eventually(
            f"Secret {name} is there", lambda: self.api.secret(name), patience(60), seen=self.tail_of("operator")
        )
        assert set(held) == {"tls.crt", "tls.key", "ca.crt"}, set(held)
        place = self.folder / "tls" / component
        place.mkdir(parents=True, exist_ok=True)
        for file, content in held.items():
            part = place / f".{file}"
            part.write_bytes(content)
            part.chmod(0o600)
            part.replace(place / file)
        return place

    def tail_of(self, name: str) -> Any:
        """What to show of a process when something is waited for in vain."""
        return lambda: f"the end of {name}'s log:\n{self.log(name)[-3000:]}"

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def start_all(self) -> None:
        """The operator first, because the others wait for their certificates."""
        for name in ("operator", "auth", "router", "edge"):
            self.start(name)
        for name in ("operator", "edge"):
            self.await_ready(name)

    def await_ready(self, name: str) -> None:
        eventually(f"{name} is ready", lambda: self.ready(name), patience(60), seen=self.tail_of(name))

    def ready(self, name: str) -> bool:
        process = self.processes[name]
        assert process.poll() is None, f"{name} ended with {process.returncode}:\n{self.log(name)[-3000:]}"
        return httpx.get(f"{self._own(name)}/readyz", timeout=10).is_success

    def metrics(self, name: str) -> str:
        return httpx.get(f"{self._own(name)}/metrics", timeout=10).text

    def _own(self, name: str) -> str:
        try:
            told = json.loads((self.folder / "run" / f"{self.release}-{name}-0.json").read_text())
        except FileNotFoundError:
            raise AssertionError(f"{name} has not told its port yet") from None
        return f"http://127.0.0.1:{told['metrics_port']}"

    def stop(self, name: str, *, kill: bool = False) -> None:
        """SIGTERM, or SIGKILL."""
        process = self.processes.pop(name, None)
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        (self.folder / "run" / f"{self.release}-{name}-0.json").unlink(missing_ok=True)

    def restart(self, name: str, *, kill: bool = False) -> None:
        self.stop(name, kill=kill)
        self.start(name)

    def end(self) -> None:
        for name in ("edge", "router", "auth", "operator"):
            self.stop(name)
        self.simulator.end()

    # What people do.

    def apply(self, *resources: Json) -> None:
        for resource in resources:
            self.api.apply(resource).expect()

    def account(self, name: str, key: str = "", **spec: Any) -> None:
        """An account that the simulator plays, with its Secret. Without `key`: its own."""
        self.credential(name, key or f"sim-key-{name}")
        self.apply(self.account_document(name, **spec))

    def account_document(self, name: str, **spec: Any) -> Json:
        said = {
            "provider": "Anthropic",
            "baseURL": self.simulator.url,
            "allowPrivateAddress": "Allow",
            "auth": {"apiKey": {"secretRef": {"name": name, "key": "api-key"}}},
        } | spec
        return custom("UpstreamAccount", name, said)

    def credential(self, name: str, key: str) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"api-key": key}}
        # PATCH by merge: `stringData` of server-side apply would belong to nobody afterwards.
        if self.api.get(SECRET, name) is None:
            self.api.create(secret).expect()
        else:
            self.api.patch(SECRET, name, {"stringData": {"api-key": key}}).expect()

    def plan(self, name: str, **spec: Any) -> None:
        self.apply(custom("Plan", name, spec))

    def key(self, name: str, plan: str = "open", **spec: Any) -> str:
        """An APIKey, issued; returns the key."""
        said = {"project": f"project-{name}", "planRef": {"name": plan}, "secretName": f"{name}-key"} | spec
        self.apply(custom("APIKey", name, said))
        self.await_condition(API_KEY, name, "Ready", "True")
        return self.written_key(said["secretName"])

    def written_key(self, secret: str) -> str:
        held = eventually(f"Secret {secret} is there", lambda: self.api.secret(secret), patience(30))
        return held["api-key"].decode()

    def remove(self, kind: Kind, name: str) -> None:
        self.api.delete(kind, name)
        eventually(f"{name} is gone", lambda: self.api.get(kind, name) is None, patience(30))

    # What people see.

    def conditions(self, kind: Kind, name: str) -> dict[str, Json]:
        status = (self.api.get(kind, name) or {}).get("status") or {}
        return {one["type"]: one for one in status.get("conditions") or ()}

    def await_condition(
        self, kind: Kind, name: str, aspect: str, status: str, reason: str = "", seconds: float = 60.0
    ) -> Json:  # fmt: skip
        """Wait until a condition says this of the present generation, and return it."""

        def says() -> Json:
            found = self.api.read(kind, name).expect()
            one = self.conditions(kind, name).get(aspect)
            good = one and one["status"] == status and one.get("observedGeneration") == found["metadata"]["generation"]
            return one if good and reason in {"", one["reason"]} else None

        what = f"{kind.plural}/{name} has {aspect}={status} {reason}".strip()
        return eventually(
            what, says, patience(seconds), seen=lambda: f"{self.shown(kind, name)}\n{self.tail_of('operator')()}"
        )

    def shown(self, kind: Kind, name: str) -> str:
        found = [
            f"{one['type']}={one['status']}/{one['reason']}: {one['message']}"
            for one in self.conditions(kind, name).values()
        ]
        return "; ".join(found) or "no conditions"

    def events(self, name: str) -> list[Json]:
        return self.api.list(EVENT, fieldSelector=f"involvedObject.name={name}")

    def await_event(self, name: str, reason: str) -> Json:
        def told() -> Json:
            return next((event for event in self.events(name) if event["reason"] == reason), None)

        def seen() -> Any:
            return [(event["type"], event["reason"], event.get("message")) for event in self.events(name)]

        return eventually(f"an Event {reason} on {name}", told, patience(30), seen=seen)

    def ask(self, key: str, directive: str = "", **more: Any) -> Exchange:
        """One request through the edge."""
        return asyncio.run(exchange(self.ports["edge"], key, payload(directive, **more)))

    def await_answer(self, key: str, status: int, seconds: float = 30.0, directive: str = "", **more: Any) -> Exchange:
        def answered() -> Exchange | None:
            answer = self.ask(key, directive, **more)
            return answer if answer.status == status else None

        return eventually(
            f"a request is answered {status}", answered, patience(seconds), seen=lambda: self.ask(key).body
        )

    def served_by(self) -> list[str]:
        """The accounts that have served messages since the simulator's records were dropped, in order."""
        return [record["account"] for record in self.simulator.messages()]


def custom(kind: str, name: str, spec: Json, **metadata: Any) -> Json:
    """One of our resources."""
    return {"apiVersion": GROUP_VERSION, "kind": kind, "metadata": {"name": name} | metadata, "spec": spec}


@contextmanager
def running(inside: Kubernetes, folder: Path) -> Iterator[Fleet]:
    """All processes, with an open plan."""
    fleet = Fleet(inside, folder)
    try:
        fleet.plan("open", maxConcurrentRequests=4096)
        fleet.start_all()
        yield fleet
    finally:
        fleet.end()
        if os.environ.get("PENSTOCK_TEST_KEEP"):
            sys.stderr.write(f"the processes' logs are in {folder}\n")


def published(api: Kubernetes, prefix: str) -> dict[str, str]:
    """The versions of a catalog's Secrets by name."""
    found = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in api.list(SECRET)}
    return {name: version for name, version in found.items() if name.startswith(f"{prefix}-")}


__all__ = ["ACCOUNT", "API_KEY", "PLAN", "Fleet", "custom", "k8s", "published", "running"]
