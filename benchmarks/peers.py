"""Other gateways: installed from their registries into `.tools`, configured and started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from gateways import Running, Target, Way
from running import GATEWAY_CORE, HERE, LOGS, free_port, on_core, started, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from upstreams import Upstreams

TOOLS = HERE / ".tools"
INSTALL_SECONDS = 600

LITELLM_VERSION = "1.106.2"
PORTKEY_VERSION = "1.15.2"
# With newer ones Portkey's streams all fail ("TypeError: immutable").
PORTKEY_NEEDS = {"hono": "4.9.7", "@hono/node-server": "1.14.0"}
TENSORZERO_VERSION = "2026.6.0"
SGLANG_ROUTER_VERSION = "0.3.2"


def _installed(name: str, spec: str, *commands: list[str], files: dict[str, str] | None = None) -> Path:
    """Install a tool into a folder of its own, once for each `spec`. Raises RuntimeError."""
    folder = TOOLS / name
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == spec:
        return folder
    print(f"{name}: installing {spec}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file, text in (files or {}).items():
        (folder / file).write_text(text)
    for command in commands:
        env = os.environ | {"VIRTUAL_ENV": str(folder)}
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{spec} cannot be installed: {done.stderr.strip()[-200:]}")
    stamp.write_text(spec)
    return folder


def _from_pypi(name: str, package: str) -> Path:
    uv = os.environ.get("UV", "uv")
    make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, "."]
    install = [uv, "pip", "install", "--quiet", package]
    return _installed(name, f"{package} for {sys.version}", make, install)


@contextmanager
def litellm(base: Upstreams) -> Iterator[Running]:
    """LiteLLM's proxy without keys: the cheapest it can be."""
    folder = _from_pypi("litellm", f"litellm[proxy]=={LITELLM_VERSION}")
    models = [
        {
            "model_name": f"{family}-{pace}",
            "litellm_params": {"model": f"{kind}/mock-model", "api_base": url + path, "api_key": "mock-key"},
        }
        for family, kind, path in (("claude", "anthropic", ""), ("chat", "openai", "/v1"))
        for pace, url in (("fast", base.fast), ("paced", base.paced))
    ]
    config = LOGS / "litellm.json"
    config.write_text(
        json.dumps({"model_list": models, "litellm_settings": {"set_verbose": False, "drop_params": True}})
    )
    env = os.environ | {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    # It will not start without a key of its own otherwise; nothing here leaves this machine.
    env |= {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    port = free_port()
    command = [*on_core(GATEWAY_CORE), str(folder / "bin/litellm"), "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with started(command, env, "litellm") as process:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", process)

        def way(path: str, family: str) -> Way:
            url = f"http://127.0.0.1:{port}/v1/{path}"
            return Way(Target(url, f"{family}-fast"), Target(url, f"{family}-paced"))

        yield Running(
            "litellm",
            LITELLM_VERSION,
            process.pid,
            (process.pid,),
            "one worker, retries, costs",
            "keys, limits and a ledger with PostgreSQL: off",
            messages=way("messages", "claude"),
            chat=way("chat/completions", "chat"),
            crossing=way("chat/completions", "claude"),
        )


@contextmanager
def portkey(base: Upstreams) -> Iterator[Running]:
    """Portkey's open gateway."""
    wanted = {"private": True, "dependencies": {"@portkey-ai/gateway": PORTKEY_VERSION}, "overrides": PORTKEY_NEEDS}
    install = ["npm", "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund"]
    spec = json.dumps(wanted)
    folder = _installed("portkey", spec, install, files={"package.json": spec})
    entry = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    port = free_port()
    env = os.environ | {"PORT": str(port), "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    with started([*on_core(GATEWAY_CORE), "node", str(entry), f"--port={port}"], env, "portkey") as process:
        wait_for(f"http://127.0.0.1:{port}/", process)

        def way(path: str, provider: str, key: str) -> Way:
            url, model = f"http://127.0.0.1:{port}/v1/{path}", "mock-model"
            to = (f"x-portkey-provider: {provider}", key)
            return Way(
                *(
                    Target(url, model, (*to, f"x-portkey-custom-host: {base_url}/v1"))
                    for base_url in (base.fast, base.paced)
                )
            )

        needs = ", ".join(f"{name} {version}" for name, version in PORTKEY_NEEDS.items())
        yield Running(
            "portkey",
            PORTKEY_VERSION,
            process.pid,
            (process.pid,),
            f"routing by headers, retries; with {needs}, since its streams fail on newer ones",
            "none in the open gateway",
            messages=way("messages", "anthropic", "x-api-key: mock-key"),
            chat=way("chat/completions", "openai", "authorization: Bearer mock-key"),
        )


TENSORZERO_CONFIG = """
[gateway]
observability.enabled = false
{models}
"""
TENSORZERO_MODEL = """
[models.{name}]
routing = ["mock"]
[models.{name}.providers.mock]
type = "openai"
model_name = "mock-model"
api_base = "{url}/v1"
api_key_location = "none"
"""
# The package has no command: its gateway is a server within a Python process, which does nothing else.
TENSORZERO_SERVER = """
import sys, threading
from tensorzero import _start_http_gateway
gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
open(sys.argv[2], "w").write(gateway.base_url)
threading.Event().wait()
"""


@contextmanager
def tensorzero(base: Upstreams) -> Iterator[Running]:
    """Tensorzero's gateway as its Python package embeds it."""
    folder = _from_pypi("tensorzero", f"tensorzero=={TENSORZERO_VERSION}")
    config, told = LOGS / "tensorzero.toml", LOGS / "tensorzero.url"
    models = {"fast": base.fast, "paced": base.paced}
    written = "".join(TENSORZERO_MODEL.format(name=name, url=url) for name, url in models.items())
    config.write_text(TENSORZERO_CONFIG.format(models=written))
    told.unlink(missing_ok=True)
    command = [*on_core(GATEWAY_CORE), str(folder / "bin/python"), "-c", TENSORZERO_SERVER, str(config), str(told)]
    with started(command, log="tensorzero") as process:
        url = _told(told, process)
        wait_for(url.removesuffix("/openai/v1") + "/health", process)
        ways = (Target(f"{url}/chat/completions", f"tensorzero::model_name::{name}") for name in models)
        yield Running(
            "tensorzero",
            TENSORZERO_VERSION,
            process.pid,
            (process.pid,),
            "the gateway embedded in its Python package, metrics",
            "keys and limits with PostgreSQL, records with ClickHouse: off",
            chat=Way(*ways),
        )


def _told(file: Path, process: subprocess.Popen[bytes]) -> str:
    for _ in range(300):
        if file.exists() and (url := file.read_text().strip()):
            return url
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError("it did not say where it listens")


@contextmanager
def sglang_router(base: Upstreams) -> Iterator[Running]:
    """SGLang's router: one for each upstream, since all of a router's workers are alike to it."""
    folder = _from_pypi("sglang-router", f"sglang-router=={SGLANG_ROUTER_VERSION}")
    with ExitStack() as stack:
        targets: list[Target] = []
        for pace, url in (("fast", base.fast), ("paced", base.paced)):
            port = free_port()
            command = [*on_core(GATEWAY_CORE), str(folder / "bin/sglang-router"), "launch", "--log-level", "warn"]
            command += ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", url]
            command += ["--shutdown-grace-period-secs", "1"]
            command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port())]
            process = stack.enter_context(started(command, log=f"sglang-router-{pace}"))
            targets.append(Target(f"http://127.0.0.1:{port}/v1/chat/completions", "mock-model", pid=process.pid))
        for target in targets:
            wait_for(target.url.replace("/v1/chat/completions", "/readiness"), process)
        yield Running(
            "sglang-router",
            SGLANG_ROUTER_VERSION,
            targets[0].pid,
            tuple(target.pid for target in targets),
            "cache-aware policy, retries, circuit breaker, metrics",
            "a limit of requests at once: off; neither keys nor ledger",
            chat=Way(*targets),
        )
