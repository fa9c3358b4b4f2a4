"""An edge's memory over many requests and many streams whose clients hang up."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from open_streams import request
from running import HERE, OTHER_CORE, on_core, resident_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateways import Running, Target

REQUESTS = 200_000
ABANDONED = 20_000
CHECKPOINTS = 10
AT_ONCE = 64
SETTLE_SECONDS = 5.0


async def abandon(target: Target, count: int) -> None:
    """Start `count` paced streams and close each connection after its first bytes."""
    place = asyncio.Semaphore(AT_ONCE)
    parts = urlsplit(target.url)
    asking = request(target)

    async def one() -> None:
        async with place:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(asking)
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(10):
                    await reader.read(512)
            writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(count)))


def requests(target: Target, count: int) -> None:
    """Send `count` unary requests with the load generator."""
    command = [*on_core(OTHER_CORE), str(HERE / "bin/loadgen"), "-json", "-url", target.url, "-model", target.model]
    command += ["-c", "32", "-count", str(count), "-d", "600s", "-warm", "0s"]
    for header in target.headers:
        command += ["-H", header]
    subprocess.run(command, check=True, capture_output=True, timeout=700)


def measure_memory(gateway: Running) -> str:
    """Run both loads in steps and return a Markdown section with the readings."""
    way = gateway.messages
    if way is None:
        raise RuntimeError(f"{gateway.name} does not speak Messages")
    loads: tuple[tuple[str, int, Callable[[int], None]], ...] = (
        ("requests", REQUESTS, lambda n: requests(way.fast, n)),
        ("abandoned streams", ABANDONED, lambda n: asyncio.run(abandon(way.paced, n))),
    )
    readings = []
    for title, count, work in loads:
        for step in range(CHECKPOINTS):
            work(count // CHECKPOINTS)
            time.sleep(SETTLE_SECONDS if step in {0, CHECKPOINTS - 1} else 0.5)
            readings.append((title, (step + 1) * count // CHECKPOINTS, resident_mb(gateway.pid)))
            print(f"  memory {title:18} {readings[-1][1]:7} {readings[-1][2]:7.1f} MB", flush=True)
    lines = ["| load so far | resident MB |", "|---|---|"]
    lines += [f"| {count:,} {title} | {mb:.1f} |" for title, count, mb in readings]
    for title in ("requests", "abandoned streams"):
        mine = [mb for name, _, mb in readings if name == title]
        lines.append(f"\nFrom the first tenth to the last of the {title}: {(mine[-1] / mine[0] - 1) * 100:+.1f} %.")
    return "\n".join(lines) + "\n"
