"""What a running gateway is, and how the floor and Penstock are started. The other gateways are in `peers.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from running import GATEWAY_CORE, HERE, OTHER_CORE, free_port, on_core, pin, started, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from upstreams import Upstreams

ROOT = Path(__file__).resolve().parent.parent
COMPILED = HERE / ".tools/compiled"
"""Not what `make run` uses: the Python that is measured may be another one."""
SAMPLED = "0.01"
"""The part of all requests that Penstock traces here."""

RESOURCES = """
apiVersion: v1
kind: Secret
metadata: {name: mock}
stringData: {api-key: mock-key}
---
apiVersion: penstock.dev/v1alpha1
kind: Plan
metadata: {name: bench}
spec:
  limits:
    - {name: per-minute, unit: Requests, amount: 100000000, window: 1m}
    - {name: five-hours, unit: TotalTokens, amount: 100000000000, window: 5h, scope: Project}
  maxConcurrentRequests: 4096
---
apiVersion: penstock.dev/v1alpha1
kind: APIKey
metadata: {name: bench}
spec: {project: bench, planRef: {name: bench}, secretName: bench}
"""

ACCOUNT = """
---
apiVersion: penstock.dev/v1alpha1
kind: UpstreamAccount
metadata: {{name: {model}}}
spec:
  provider: {provider}
  baseURL: {url}
  auth: {{apiKey: {{secretRef: {{name: mock, key: api-key}}}}}}
  models: ["{model}"]
---
apiVersion: penstock.dev/v1alpha1
kind: Model
metadata: {{name: {model}}}
spec:
  ownedBy: {owner}
  contextTokens: 200000
  maxOutputTokens: 64000
  prices:
    - {{effectiveTime: "2026-01-01T00:00:00Z", inputPerMillionTokens: "3.00", outputPerMillionTokens: "15.00", cacheWrite5mPerMillionTokens: "3.75", cacheWrite1hPerMillionTokens: "6.00", cacheReadPerMillionTokens: "0.30"}}
"""


@dataclass(frozen=True)
class Target:
    """Where to send a request, the model's name there, and what to send along."""

    url: str
    model: str
    headers: tuple[str, ...] = ()
    pid: int = 0
    """The root process that serves here, where it is not the gateway's."""


@dataclass(frozen=True)
class Way:
    """One format through a gateway: to the fast upstream, to the paced one, and to the slow one."""

    fast: Target
    paced: Target
    slow: Target | None = None


@dataclass(frozen=True)
class Running:
    """A gateway that answers: its processes, and the ways through it."""

    name: str
    version: str
    pid: int
    """The process, or root of processes, whose CPU and memory count as the gateway's."""
    roots: tuple[int, ...]
    """The roots of all that was started for it."""
    on: str
    """What it does here beside passing bytes on."""
    equivalent: str = ""
    """What it has of keys, limits and books, if it were switched on."""
    messages: Way | None = None
    """Messages to an upstream that speaks Messages."""
    chat: Way | None = None
    """chat.completions to an upstream that speaks chat.completions."""
    crossing: Way | None = None
    """chat.completions to an upstream that speaks Messages."""

    def way(self, form: str) -> Way | None:
        """Return the way of one format (`FORMATS`)."""
        return {"messages": self.messages, "chat": self.chat}[form]


PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions"}
FORMATS = {"messages": "Messages", "chat": "chat.completions"}


def straight(base: Upstreams, form: str, model: str = "mock-model") -> Way:
    """Return the way past every gateway."""
    path = PATHS[form]
    return Way(Target(base.fast + path, model), Target(base.paced + path, model), Target(base.slow + path, model))


@contextmanager
def direct(base: Upstreams) -> Iterator[Running]:
    """Give the way past every gateway the shape of one."""
    yield Running("direct", "", 0, (), "", messages=straight(base, "messages"), chat=straight(base, "chat"))


@contextmanager
def nginx(base: Upstreams) -> Iterator[Running]:
    """A plain proxy: the floor."""
    told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    ports = {name: free_port() for name in ("fast", "paced", "slow")}
    with tempfile.TemporaryDirectory() as folder:
        servers = "".join(
            f"""
    upstream {name} {{ server {getattr(base, name).removeprefix("http://")}; keepalive 1024; }}
    server {{ listen 127.0.0.1:{port} reuseport; access_log off; client_max_body_size 32m;
      location / {{ proxy_pass http://{name}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_request_buffering off; }} }}"""
            for name, port in ports.items()
        )
        config = Path(folder) / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
            f"events {{ worker_connections 8192; }}\nhttp {{ client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;"
            f" fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 100000000;{servers}\n}}\n"
        )
        command = [*on_core(GATEWAY_CORE), "nginx", "-c", str(config), "-p", folder]
        with started(command, log="nginx") as process:
            at = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
            wait_for(f"{at['fast']}/stats", process)
            mine = type(base)(**at, sink="")
            version = told.strip().rpartition("/")[2]
            yield Running(
                "nginx",
                version,
                process.pid,
                (process.pid,),
                "one worker, unbuffered, no access log",
                "none",
                messages=straight(mine, "messages"),
                chat=straight(mine, "chat"),
            )


@contextmanager
def blind_relay(base: Upstreams) -> Iterator[Running]:
    """Bytes passed on by Python, unread: what is left when a gateway does nothing (`blind_relay.py`)."""
    ports = {name: free_port() for name in ("fast", "paced", "slow")}
    pairs = [f"{port}={getattr(base, name).removeprefix('http://')}" for name, port in ports.items()]
    command = [*on_core(GATEWAY_CORE), sys.executable, str(HERE / "blind_relay.py"), *pairs]
    with started(command, log="blind-relay") as process:
        at = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        wait_for(f"{at['fast']}/stats", process)
        mine = type(base)(**at, sink="")
        yield Running(
            "blind-relay",
            "this tree",
            process.pid,
            (process.pid,),
            "passes bytes on, unread: Python and uvloop alone",
            "none",
            messages=straight(mine, "messages"),
            chat=straight(mine, "chat"),
        )


def tracing(sink: str) -> dict[str, str]:
    """Return OpenTelemetry's variables that send one trace in a hundred to a sink."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": SAMPLED,
    }


def penstock(base: Upstreams) -> AbstractContextManager[Running]:
    """Return Penstock as `penstock up` starts it from this tree."""
    return _penstock(base, "penstock", "this tree", {})


@contextmanager
def penstock_compiled(base: Upstreams) -> Iterator[Running]:
    """Penstock with the edge's hot modules compiled."""
    subprocess.run([sys.executable, str(ROOT / "scripts/compiled.py"), str(COMPILED)], check=True)
    with _penstock(base, "penstock-compiled", "this tree", {"PYTHONPATH": str(COMPILED)}) as running:
        yield running


@contextmanager
def _penstock(base: Upstreams, name: str, version: str, env: Mapping[str, str]) -> Iterator[Running]:
    """Run `penstock up` with everything on; the edge alone on the gateways' core."""
    accounts = [
        (provider, owner, getattr(base, pace) + suffix, f"{family}-{pace}")
        for provider, owner, suffix, family in (
            ("Anthropic", "anthropic", "", "claude"),
            ("OpenAICompatible", "mock", "/v1", "chat"),
        )
        for pace in ("fast", "paced", "slow")
    ]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        resources = data / "resources.yaml"
        resources.write_text(
            RESOURCES
            + "".join(
                ACCOUNT.format(provider=provider, owner=owner, url=url, model=model)
                for provider, owner, url, model in accounts
            )
        )
        port = free_port()
        command = [*on_core(OTHER_CORE), str(Path(sys.executable).parent / "penstock"), "up"]
        command += ["--resources", str(resources), "--data-dir", str(data / "data")]
        command += ["--port", str(port), "--admin-port", str(free_port())]
        with started(command, os.environ | tracing(base.sink) | env, log=name) as process:
            wait_for(f"http://127.0.0.1:{port}/readyz", process)
            edge = int((data / "data/run/edge-0.pid").read_text())
            pin(edge, GATEWAY_CORE)
            key = f"x-api-key: {(data / 'data/secrets/bench/api-key').read_text().strip()}"

            def way(path: str, family: str) -> Way:
                url = f"http://127.0.0.1:{port}/v1/{path}"
                return Way(*(Target(url, f"{family}-{pace}", (key,)) for pace in ("fast", "paced", "slow")))

            yield Running(
                name,
                version,
                edge,
                (process.pid,),
                "keys, limits, spool, ledger, metrics",
                "all of it on",
                messages=way("messages", "claude"),
                chat=way("chat/completions", "chat"),
                crossing=way("chat/completions", "claude"),
            )
