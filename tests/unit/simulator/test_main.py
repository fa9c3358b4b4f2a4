"""The process as it is started."""

import asyncio
import json
import os
import signal
import sys

import httpx
import pytest

from .conftest import message


@pytest.fixture
async def process(tmp_path):
    environment = {
        **os.environ,
        "PENSTOCK_SIMULATOR_RUN_DIR": str(tmp_path),
        "PENSTOCK_SIMULATOR_DRAIN_SECONDS": "2",
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock_simulator.main", env=environment, stderr=asyncio.subprocess.PIPE
    )
    yield started
    if started.returncode is None:
        started.kill()
        await started.wait()


async def lines_until(process, event):
    lines = []
    async with asyncio.timeout(20):
        while not lines or lines[-1]["event"] != event:
            lines.append(json.loads(await process.stderr.readline()))
    return lines


async def test_serves_measures_and_drains(process, tmp_path):
    port = next(line["port"] for line in await lines_until(process, "started") if "port" in line)
    metrics_port = json.loads((tmp_path / "simulator-0.json").read_text())["metrics_port"]
    headers = {"x-api-key": "sim-key-a", "anthropic-version": "2023-06-01"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=10) as client:
        assert (await client.post("/v1/messages", json=message("a secret prompt"))).status_code == 200
        assert (await client.post("/v1/messages", json=message("[[sim: fault=529]]"))).status_code == 529
        metrics = (await client.get(f"http://127.0.0.1:{metrics_port}/metrics")).text
        assert (
            'penstock_simulator_requests_total{account="sim-a",fault="529",operation="messages",status="529"} 1.0'
            in metrics
        )
        assert (await client.get(f"http://127.0.0.1:{metrics_port}/readyz")).status_code == 200
        slow = message("[[sim: tokens=40 chunks=20 pace=20ms]]", stream=True)
        async with client.stream("POST", "/v1/messages", json=slow) as answer:
            process.send_signal(signal.SIGTERM)
            events = [line async for line in answer.aiter_lines() if line.startswith("event: ")]
        assert events[-1] == "event: message_stop"
    rest = (await process.stderr.read()).decode()
    assert await process.wait() == 0
    assert "secret" not in rest
    assert "sim-key-a" not in rest
