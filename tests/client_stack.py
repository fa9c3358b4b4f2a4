"""A gateway before accounts of every provider, and real clients run against it: nothing but the gateway is in reach."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.stack import BIN, Gateway, Simulator, account, plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CLIENTS = Path(__file__).parent / "clients"
COMMANDS = CLIENTS / "commands" / "bin"
PYTHONS = {"current": sys.executable, "before": str(CLIENTS / "python-before/.venv/bin/python")}
PROVIDERS = {"anthropic": "Anthropic", "openai": "OpenAI", "google": "Gemini"}
CLAUDE, GPT, GEMINI, CODEX = "claude-haiku-4-5", "gpt-4o-mini", "gemini-2.5-flash", "gpt-5.3-codex"
_NOWHERE = "http://127.0.0.1:9"
_CREDIT_PLANS = (plan("open", maxConcurrentRequests=4096), plan("prepaid", credit="Required"))


@dataclass(frozen=True, slots=True)
class ClientStack:
    """A running gateway, the simulator behind it, and a key."""

    gateway: Gateway
    simulator: Simulator
    key: str

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """What a client's process sees: a home of its own, and a network that ends at this machine."""
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOWHERE)
        near = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
        path = f"{COMMANDS}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}"
        return {"HOME": str(home), "PATH": path, "COLUMNS": "200", "LANG": "C.UTF-8"} | proxies | near | more

    def run(
        self, *command: str, home: Path, code: int = 0, text: str = "", seconds: float = 90, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a client's command in its home; fails when the exit code is another."""
        work = home / "work"
        work.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            env=self.environment(home, **more),
            cwd=work,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == code, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def answer_once(self, model: str, **directives: Any) -> None:
        """The next request for this model is answered as told, all later ones as usual."""
        self.simulator.faults("*", {"set": directives, "model": model, "operation": "messages", "count": 1})


@contextlib.contextmanager
def every_provider(
    folder: Path, *arguments: str, plans: Sequence[Mapping[str, Any]] = _CREDIT_PLANS
) -> Iterator[ClientStack]:
    """Start a gateway with one account of each provider; plans are `open` and, for those with credit, `prepaid`."""
    simulator = Simulator(folder, tuple(PROVIDERS), keep_bodies=True)
    try:
        documents: list[Mapping[str, Any]] = list(plans)
        for name, provider in PROVIDERS.items():
            base = f"{simulator.url}/v1" if provider == "OpenAI" else simulator.url
            documents += account(name, base, f"sim-key-{name}", provider=provider)
        gateway = Gateway(folder, documents, *arguments)
        try:
            yield ClientStack(gateway, simulator, gateway.key())
        finally:
            gateway.end()
    finally:
        simulator.end()
