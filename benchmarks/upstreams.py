"""The fake upstreams that every gateway of a run is pointed at."""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from running import HERE, OTHER_CORE, free_port, on_core, started, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

PACES = {
    "fast": [],
    "paced": ["-ttfb", "100ms", "-gap", "10ms"],
    "slow": ["-ttfb", "100ms", "-gap", "1s", "-n", "600"],
    "sink": [],
}


@dataclass(frozen=True)
class Upstreams:
    """Where they are."""

    fast: str
    """Answers at once; a stream's chunks come one by one as fast as they can be written."""
    paced: str
    """100 ms to the first byte, 10 ms between chunks."""
    slow: str
    """A chunk each second for ten minutes: streams that stay open."""
    sink: str
    """Takes traces and forgets them."""


@contextmanager
def upstreams() -> Iterator[Upstreams]:
    """Run them."""
    with ExitStack() as stack:
        found = {}
        for name, pace in PACES.items():
            address = f"127.0.0.1:{free_port()}"
            command = [*on_core(OTHER_CORE), str(HERE / "bin/mock"), "-addr", address, *pace]
            process = stack.enter_context(started(command, log=f"mock-{name}"))
            wait_for(f"http://{address}/stats", process)
            found[name] = f"http://{address}"
        yield Upstreams(**found)


def counted(upstream: str, what: str) -> int:
    """Return how many requests of a kind an upstream has seen."""
    with urllib.request.urlopen(f"{upstream}/stats", timeout=10) as answer:
        return int(json.load(answer)[what])
