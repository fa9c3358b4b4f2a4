"""Write docs/metrics.md from the instruments that the processes declare; `--check` only compares."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from penstock_edge.main import Edge
from penstock_edge.metrics import EdgeMetrics
from penstock_router.metrics import Metrics as RouterMetrics

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "metrics.md"
ALL = "every process"
MODULES = {
    ALL: ("penstock_chassis.process_metrics",),
    "processes that speak gRPC": ("penstock_chassis.rpc_metrics",),
    "processes that send traces": ("penstock_chassis.tracing_metrics",),
    "auth": ("penstock_auth.metrics",),
    "status": ("penstock_status.metrics",),
    "operator": tuple(
        f"penstock_operator.{path.stem}" for path in sorted(ROOT.glob("operator/penstock_operator/*metrics.py"))
    ),
    "simulator": ("penstock_simulator.metrics",),
}
STANDARD = (
    ("process_cpu_seconds", "counter", "Processor time, user and system."),
    ("process_resident_memory_bytes", "gauge", "Memory in use."),
    ("process_virtual_memory_bytes", "gauge", "Address space."),
    ("process_open_fds", "gauge", "Open files and sockets."),
    ("process_max_fds", "gauge", "How many there may be."),
    ("process_start_time_seconds", "gauge", "When the process started, in Unix seconds."),
    ("python_gc_objects_collected", "counter", "Objects that the garbage collector freed."),
    ("python_gc_objects_uncollectable", "counter", "Objects that it could not free."),
    ("python_gc_collections", "counter", "Its runs."),
    ("python_info", "gauge", "1 for the interpreter in use."),
)
_GENERATIONS = "python_gc_"
HEAD = """# Metrics

<!-- Written by scripts/metrics_page.py from the code. -->

Every process serves `/metrics` on its port `metrics` (9090 in a cluster). The chart's ServiceMonitor gives each series
three labels: `gateway` (`<namespace>/<release>`), `component` (`edge`, `auth`, ...) and, as always, `pod`. The alerts
and dashboards stand on these three; who scrapes in another way must give them too.

No label holds a key, a project, a request or any text of a client. A histogram `x` has the series `x_bucket`, `x_sum`
and `x_count`. What to do when something looks wrong is in the [runbooks](runbooks/README.md).
"""


@dataclass(frozen=True)
class Instrument:
    """One metric as a process declares it; `name` without the suffixes of its series."""

    process: str
    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def shown(self) -> str:
        """Its name as people write it in queries."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.shown,)


@cache
def instruments() -> tuple[Instrument, ...]:
    """All instruments of all processes, in the order in which they are declared."""
    found: list[Instrument] = [*_edge(), *_router()]
    for process, modules in MODULES.items():
        for module in modules:
            found += _of_module(process, importlib.import_module(module))
    for name, kind, text in STANDARD:
        labels = ("generation",) if name.startswith(_GENERATIONS) else ()
        found.append(Instrument(ALL, name, kind, labels, text))
    return tuple(found)


def series() -> frozenset[str]:
    """The names of all series that the processes can have."""
    return frozenset(name for instrument in instruments() for name in instrument.series)


def _edge() -> list[Instrument]:
    registry = CollectorRegistry()
    edge = MagicMock(metrics=EdgeMetrics(registry))
    Edge._show_gauges(edge)
    return _of_registry("edge", registry)


def _router() -> list[Instrument]:
    registry = CollectorRegistry()
    RouterMetrics(registry)
    return _of_registry("router", registry)


def _of_registry(process: str, registry: CollectorRegistry) -> list[Instrument]:
    found = []
    for collector in list(registry._collector_to_names):
        if isinstance(collector, MetricWrapperBase):
            found.append(_of_wrapper(process, collector))
            continue
        for family in collector.collect():
            labels = tuple(family._labelnames)
            found.append(Instrument(process, family.name, family.type, labels, family.documentation))
    return found


def _of_module(process: str, module: ModuleType) -> list[Instrument]:
    return [_of_wrapper(process, value) for value in vars(module).values() if isinstance(value, MetricWrapperBase)]


def _of_wrapper(process: str, metric: MetricWrapperBase) -> Instrument:
    return Instrument(process, metric._name, metric._type, tuple(metric._labelnames), metric._documentation)


def page() -> str:
    """The page as it should be."""
    lines = [HEAD]
    by_process: dict[str, list[Instrument]] = {}
    for instrument in instruments():
        by_process.setdefault(instrument.process, []).append(instrument)
    groups = (ALL, "processes that speak gRPC", "processes that send traces")
    for process in ("edge", "auth", "router", "operator", "status", "simulator", *groups):
        if process not in by_process:
            continue
        lines.append(f"## {process[0].upper()}{process[1:]}\n")
        lines += ["| metric | type | labels | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{one.shown}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.text} |"
            for one in by_process[process]
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Write the page, or with `--check` compare it."""
    wanted = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text() == wanted:
            return 0
        print("docs/metrics.md differs from the code: run .venv/bin/python scripts/metrics_page.py and commit it")
        return 1
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
