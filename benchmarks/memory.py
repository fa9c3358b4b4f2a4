"""An edge's memory over many requests and many streams whose clients hang up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from gateways import Running

REQUESTS = 200_000
ABANDONED = 20_000
CHECKPOINTS = 10
AT_ONCE = 64
SETTLE_SECONDS = 5.0


def resident_mb(pid: int) -> float:
    """Resident memory of one process, MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no VmRSS")


async def abandon(gateway: Running, count: int) -> None:
    """Start `count` paced streams and close each connection after its first bytes."""
    place = asyncio.Semaphore(AT_ONCE)
    parts = urlsplit(gateway.messages.paced_url)
    body = json.dumps(
        {
            "model": gateway.messages.paced_model,
            "max_tokens": 64,
            "stream": True,
            "messages": [{"role": "user", "content": "hello"}],
        }
    )
    head = [
        f"POST {parts.path} HTTP/1.1",
        f"host: {parts.netloc}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *gateway.headers,
    ]
    request = ("\r\n".join(head) + "\r\n\r\n" + body).encode()

    async def one() -> None:
        async with place:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(request)
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(10):
                    await reader.read(512)
            writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(count)))


def requests(gateway: Running, count: int) -> None:
    """Send `count` unary requests with the load generator."""
    from gateways import HERE  # noqa: PLC0415 -- gateways names this module's types only

    command = [
        "taskset",
        "-c",
        "1",
        str(HERE / "bin/loadgen"),
        "-json",
        "-url",
        gateway.messages.url,
        "-model",
        gateway.messages.model,
        "-c",
        "32",
        "-count",
        str(count),
        "-d",
        "600s",
        "-warm",
        "0s",
    ]
    for header in gateway.headers:
        command += ["-H", header]
    subprocess.run(command, check=True, capture_output=True, timeout=700)


def measure_memory(gateway: Running) -> str:
    """Run both loads in steps and return a Markdown section with the readings."""
    readings = []
    for title, count, work in (
        ("requests", REQUESTS, lambda n: requests(gateway, n)),
        ("abandoned streams", ABANDONED, lambda n: asyncio.run(abandon(gateway, n))),
    ):
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
