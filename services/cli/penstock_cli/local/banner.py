"""What `penstock up` prints once the gateway serves."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the banner tells."""

    gateway: str
    admin: str
    accounts: str
    data_dir: Path
    default_data_dir: bool
    store: str
    processes: Sequence[str]
    metrics: Mapping[str, int]
    simulator: str | None
    plan: str | None
    program: str = "penstock"


def text(facts: Facts, command: str | None) -> str:
    """Return the whole banner; its last line is the command alone."""
    option = "" if facts.default_data_dir else f" --data-dir {shlex.quote(str(facts.data_dir))}"
    plan = facts.plan or "PLAN"
    rows = [
        ("gateway", facts.gateway),
        ("admin API", f"{facts.admin} (docs at /docs; token in {facts.data_dir / 'admin-token'})"),
        ("accounts", facts.accounts),
        *([("simulator", facts.simulator)] if facts.simulator else []),
        ("data", f"{facts.data_dir} ({facts.store})"),
        ("processes", ", ".join(facts.processes)),
        ("metrics", ", ".join(f"{name} http://127.0.0.1:{port}/metrics" for name, port in facts.metrics.items())),
    ]
    lines = ["", "Penstock is up.", *(f"  {title:<11}{words}" for title, words in rows)]
    lines += ["", "Ways in, all with the same keys:", *(f"  {way}" for way in _ways_in(facts.gateway)), "", "Next:"]
    lines += [
        f"  {facts.program} keys create --project my-team --plan {plan}{option}",
        f"  {facts.program} accounts list{option}",
        f"  {facts.program} usage list{option}",
        "",
    ]
    if command is None and facts.plan is None:
        lines += ["There is no Plan among the resources, so no key can be made; add one and ask for a key as above."]
    elif command is None:
        lines += ["No key could be made for an example; what was said above tells why."]
    else:
        lines += ["Send a request:", command]
    return "\n".join(lines) + "\n"


def _ways_in(gateway: str) -> tuple[str, ...]:
    """Name what each provider's SDK reads, in the form in which it takes a base URL."""
    return (f"ANTHROPIC_BASE_URL={gateway}", f"OPENAI_BASE_URL={gateway}/v1", f"GOOGLE_GEMINI_BASE_URL={gateway}")


def program(own: Path, here: Path, found: str | None) -> str:
    """Return how a shell in `here` calls our own script; `found` is what it finds under the name alone."""
    if not own.exists() or (found is not None and Path(found).resolve() == own.resolve()):
        return "penstock"
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


def metrics_ports(run_dir: Path, names: Sequence[str]) -> dict[str, int]:
    """Return the port of /metrics of each process that has told it."""
    ports = {}
    for name in names:
        try:
            told = json.loads((run_dir / f"{name}.json").read_text(encoding="utf-8"))
            ports[name] = int(told["metrics_port"])
        except (OSError, ValueError, KeyError):
            continue
    return ports
