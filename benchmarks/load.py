"""One measurement with the load generator."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from plan import DELTAS
from running import HERE, OTHER_CORE, on_core

if TYPE_CHECKING:
    from gateways import Running, Way

Row = dict[str, Any]

SMALL_BYTES = 1_000
WARM_SECONDS = 0.5


def load(
    gateway: Running,
    way: Way,
    *,
    paced: bool = False,
    connections: int = 16,
    seconds: float = 5,
    pad: int = 0,
    stream: bool = False,
    rate: int = 0,
) -> Row:
    """Send as many requests as fit one way through a gateway, or `rate` a second. Raises RuntimeError."""
    target = way.paced if paced else way.fast
    command = [*on_core(OTHER_CORE), str(HERE / "bin/loadgen"), "-json", "-name", gateway.name]
    command += ["-url", target.url, "-model", target.model, "-c", str(connections), "-pad", str(pad)]
    command += ["-d", f"{seconds}s", "-warm", f"{min(WARM_SECONDS, seconds)}s"]
    if stream:
        command.append("-stream")
    if rate:
        command += ["-rate", str(rate)]
    if pid := target.pid or gateway.pid:
        command += ["-pid", str(pid)]
    for root in gateway.roots:
        if root not in {gateway.pid, target.pid} and len(gateway.roots) == 1:
            command += ["-beside", str(root)]
    for header in target.headers:
        command += ["-H", header]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator ended with {done.returncode}: {done.stderr[-300:]}")
    return dict(json.loads(done.stdout))


def cpu(row: Row) -> float:
    """Return the gateway's CPU microseconds for a request, or for a delta of a stream."""
    return float(row.get("cpu_ms_per_req", 0)) * 1000 / (DELTAS if row["stream"] else 1)


def told(row: Row) -> str:
    """Return one line that says how a measurement went."""
    spent = f"  cpu {cpu(row):7.1f} us" if "cpu_ms_per_req" in row else ""
    errors = f"  errors {row['errs']} {row.get('err', '')[:120]}" if row["errs"] else ""
    return f"{row['rps']:9.0f}/s  p50 {row['p50_ms']:7.2f} ms{spent}{errors}"
