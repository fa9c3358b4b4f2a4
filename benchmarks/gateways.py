"""How each gateway of a comparison is installed, configured and started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
TOOLS = HERE / ".tools"
MOCK = "http://127.0.0.1:9100"
PACED = "http://127.0.0.1:9101"
READY_SECONDS = 120

LITELLM_VERSION = "1.106.2"
PORTKEY_VERSION = "1.15.2"

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
class Way:
    """Where to send a request, and the model's name by which it reaches the fast mock or the paced one."""

    url: str
    model: str
    paced_url: str
    paced_model: str


@dataclass(frozen=True)
class Running:
    """A gateway that answers: its root process, the ways through it, and what to send along."""

    name: str
    version: str
    pid: int
    messages: Way
    """Messages to an upstream that speaks Messages."""
    headers: list[str] = field(default_factory=list)
    chat: Way | None = None
    """chat.completions to an upstream that speaks chat.completions."""
    crossing: Way | None = None
    """chat.completions to an upstream that speaks Messages."""

    def headers_for(self, *, paced: bool) -> list[str]:
        """Return what to send along, for the fast mock or the paced one."""
        return [header.replace(MOCK, PACED) if paced else header for header in self.headers]


DIRECT = Way(f"{MOCK}/v1/messages", "mock-model", f"{PACED}/v1/messages", "mock-model")
"""Past every gateway."""


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = READY_SECONDS) -> None:
    """Wait until `url` answers below 500; raises when the process ends or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{url}: the gateway ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status < 500:
                    return
        except urllib.error.HTTPError as error:
            with error:
                if error.code < 500:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{url}: no answer within {seconds:.0f} s")


@contextmanager
def started(
    command: list[str], env: dict[str, str] | None = None, log: str = "gateway"
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process group and end it."""
    (HERE / "results").mkdir(exist_ok=True)
    with (HERE / "results" / f"{log}.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=env, start_new_session=True)
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(timeout=12)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


@contextmanager
def nginx() -> Iterator[Running]:
    """A plain proxy: the floor."""
    version = (
        subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip().rpartition("/")[2]
    )
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        servers = "".join(
            f"""
    upstream u{port} {{ server {target.removeprefix("http://")}; keepalive 256; }}
    server {{ listen 127.0.0.1:{port} reuseport; access_log off; client_max_body_size 32m;
      location / {{ proxy_pass http://u{port}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_request_buffering off; }} }}"""
            for port, target in ((4100, MOCK), (4101, PACED))
        )
        config.write_text(
            f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
            f"events {{ worker_connections 4096; }}\nhttp {{ client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;"
            f" fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 100000000;{servers}\n}}\n"
        )
        with started(["taskset", "-c", "0", "nginx", "-c", str(config), "-p", folder], log="nginx") as process:
            wait_for("http://127.0.0.1:4100/stats", process)
            url, paced = "http://127.0.0.1:4100/v1/messages", "http://127.0.0.1:4101/v1/messages"
            yield Running("nginx", version, process.pid, Way(url, "mock-model", paced, "mock-model"))


@contextmanager
def litellm() -> Iterator[Running]:
    """LiteLLM's proxy without keys: the cheapest it can be."""
    folder = TOOLS / "litellm"
    if not (folder / "bin/litellm").exists():
        subprocess.run([os.environ["UV"], "venv", "--quiet", "--clear", str(folder)], check=True)
        packages = ["pip", "install", "--quiet", f"litellm[proxy]=={LITELLM_VERSION}"]
        subprocess.run([os.environ["UV"], *packages], check=True, env=os.environ | {"VIRTUAL_ENV": str(folder)})
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": "anthropic/mock-model", "api_base": base, "api_key": "mock-key"},
        }
        for name, base in (("claude-mock", MOCK), ("claude-paced", PACED))
    ]
    config = HERE / "results" / "litellm.json"
    config.parent.mkdir(exist_ok=True)
    config.write_text(
        json.dumps({"model_list": models, "litellm_settings": {"set_verbose": False, "drop_params": True}})
    )
    env = os.environ | {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    # It will not start without a key of its own otherwise; nothing here leaves this machine.
    env |= {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    command = [
        "taskset",
        "-c",
        "0",
        str(folder / "bin/litellm"),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        "4200",
    ]
    with started(command, env, "litellm") as process:
        wait_for("http://127.0.0.1:4200/health/liveliness", process)
        url = "http://127.0.0.1:4200/v1"
        yield Running(
            "litellm",
            LITELLM_VERSION,
            process.pid,
            _way(f"{url}/messages", "claude"),
            crossing=_way(f"{url}/chat/completions", "claude"),
        )


def _way(url: str, family: str) -> Way:
    return Way(url, f"{family}-mock", url, f"{family}-paced")


@contextmanager
def portkey() -> Iterator[Running]:
    """Portkey's open gateway."""
    folder = TOOLS / "portkey"
    entry = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not entry.exists():
        folder.mkdir(parents=True, exist_ok=True)
        package = f"@portkey-ai/gateway@{PORTKEY_VERSION}"
        subprocess.run(
            ["npm", "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund", package],
            cwd=folder,
            check=True,
        )
    env = os.environ | {"PORT": "4300", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    with started(["taskset", "-c", "0", "node", str(entry), "--port=4300"], env, "portkey") as process:
        wait_for("http://127.0.0.1:4300/", process)
        url = "http://127.0.0.1:4300/v1/messages"
        headers = ["x-portkey-provider: anthropic", f"x-portkey-custom-host: {MOCK}/v1", "x-api-key: mock-key"]
        yield Running("portkey", PORTKEY_VERSION, process.pid, Way(url, "mock-model", url, "mock-model"), headers)


@contextmanager
def penstock() -> Iterator[Running]:
    """Penstock as `penstock up` starts it: keys, limits, spool, ledger and metrics on; the edge alone on core 0."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        resources = data / "resources.yaml"
        accounts = (
            ("Anthropic", "anthropic", MOCK, "claude-mock"),
            ("Anthropic", "anthropic", PACED, "claude-paced"),
            ("OpenAICompatible", "mock", f"{MOCK}/v1", "chat-mock"),
            ("OpenAICompatible", "mock", f"{PACED}/v1", "chat-paced"),
        )
        resources.write_text(
            RESOURCES
            + "".join(
                ACCOUNT.format(provider=provider, owner=owner, url=url, model=model)
                for provider, owner, url, model in accounts
            )
        )
        binary = Path(sys.executable).parent / "penstock"
        command = [
            "taskset",
            "-c",
            "1",
            str(binary),
            "up",
            "--resources",
            str(resources),
            "--data-dir",
            str(data / "data"),
            "--port",
            "4400",
            "--admin-port",
            "4401",
        ]
        with started(command, log="penstock") as process:
            wait_for("http://127.0.0.1:4400/readyz", process)
            edge = int((data / "data/run/edge-0.pid").read_text())
            subprocess.run(["taskset", "-a", "-p", "-c", "0", str(edge)], check=True, capture_output=True)
            key = (data / "data/secrets/bench/api-key").read_text().strip()
            url = "http://127.0.0.1:4400/v1"
            yield Running(
                "penstock",
                "this tree",
                edge,
                _way(f"{url}/messages", "claude"),
                [f"x-api-key: {key}"],
                chat=_way(f"{url}/chat/completions", "chat"),
                crossing=_way(f"{url}/chat/completions", "claude"),
            )


GATEWAYS = {"nginx": nginx, "penstock": penstock, "portkey": portkey, "litellm": litellm}
TRANSLATING = ("penstock", "litellm")
"""Those whose translation is measured too."""
