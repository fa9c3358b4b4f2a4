"""One measurement with the load generator."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from gateways import HERE

if TYPE_CHECKING:
    from gateways import Running, Way

Row = dict[str, Any]

SMALL_BYTES = 1_000
DELTAS = 50
"""In each of the mocks' streams."""


def load(
    gateway: Running | None,
    way: Way,
    *,
    paced: bool = False,
    connections: int = 16,
    seconds: float = 5,
    pad: int = 0,
    stream: bool = False,
) -> Row:
    """Send as many requests as fit one way through a gateway; `None` measures the mock itself."""
    url, model = (way.paced_url, way.paced_model) if paced else (way.url, way.model)
    command = ["taskset", "-c", "1", str(HERE / "bin/loadgen"), "-json"]
    command += ["-url", url, "-model", model, "-c", str(connections), "-pad", str(pad)]
    command += ["-d", f"{seconds}s", "-warm", f"{min(1, seconds)}s", "-name", gateway.name if gateway else "direct"]
    if stream:
        command.append("-stream")
    if gateway is not None:
        command += ["-pid", str(gateway.pid)]
        for header in gateway.headers_for(paced=paced):
            command += ["-H", header]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=False)
    if done.returncode:
        sys.exit(f"loadgen: {done.stderr}")
    return dict(json.loads(done.stdout))


def cpu(row: Row) -> float:
    """Return the gateway's CPU microseconds for a request, or for a delta of a stream."""
    return float(row["cpu_ms_per_req"]) * 1000 / (DELTAS if row["stream"] else 1)


def told(row: Row) -> str:
    """Return one line that says how a measurement went."""
    shown = f"{row['rps']:9.0f}/s  p50 {row['p50_ms']:7.2f} ms  cpu {row.get('cpu_ms_per_req', 0) * 1000:8.0f} us"
    return f"{shown}  errors {row['errs']} {row.get('err', '')}"
