"""SIGTERM: streams get their time, everything is settled, everybody is gone in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.client import Exchange, exchange, payload
from tests.stack import Gateway, running, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("drain")


def test_streams_get_their_time_and_the_books_are_whole_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, simulator):
        key = gateway.key()

        async def stop_under_load() -> list[Exchange]:
            short, endless = "chunks=20 pace=100ms tokens=80", "chunks=600 pace=200ms tokens=1200"
            bodies = [payload(each, stream=True, max_tokens=2000) for each in [short] * 8 + [endless]]
            seen = [Exchange() for _ in bodies]
            work = asyncio.gather(
                *(exchange(gateway.port, key, body, seen=one) for body, one in zip(bodies, seen, strict=True))
            )
            async with asyncio.timeout(60):
                while not all(one.output_at for one in seen):
                    await asyncio.sleep(0.02)
            code = await asyncio.to_thread(gateway.end)
            assert code == 0
            return list(await work)

        *short, endless = asyncio.run(stop_under_load())
        assert all(one.good for one in short)
        assert not endless.whole_stream
        assert endless.error_event
        served = {record["request_id"] for record in simulator.messages()}
        again = Gateway(tmp_path, None, "--resources", str(gateway.resources))
        try:
            wait_until("all are settled", lambda: len(again.usage()) >= 9)
            rows = {row["request_id"]: row for row in again.usage()}
            assert set(rows) == served
            assert sorted(row["state"] for row in rows.values()) == ["complete"] * 8 + ["error_after_output"]
        finally:
            again.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_settles_everything_before_the_end(tmp_path: Path, number: signal.Signals) -> None:
    """Auth, and the upstream's simulator, hear it as soon as the edge does, whose streams go on for a while."""
    gateway = Gateway(tmp_path, None, "--drain-seconds", "30")
    try:
        key = gateway.key(plan="default")

        async def stop_under_load() -> list[Exchange]:
            bodies = [payload("chunks=20 pace=100ms tokens=80", stream=True, max_tokens=2000) for _ in range(4)]
            seen = [Exchange() for _ in bodies]
            work = asyncio.gather(
                *(exchange(gateway.port, key, body, seen=one) for body, one in zip(bodies, seen, strict=True))
            )
            async with asyncio.timeout(60):
                while not all(one.output_at for one in seen):
                    await asyncio.sleep(0.02)
            os.killpg(gateway.process.pid, number)
            return list(await work)

        assert all(one.good for one in asyncio.run(stop_under_load()))
        assert gateway.process.wait(90) == 0
        with contextlib.closing(sqlite3.connect(gateway.data_dir / "penstock.sqlite3")) as ledger:
            assert ledger.execute("select state from settlements").fetchall() == [("complete",)] * 4
    finally:
        gateway.end()


def test_no_process_outlives_the_command(tmp_path: Path) -> None:
    with running(tmp_path, "--edges", "2") as (gateway, _):
        pids = [gateway.pid(name) for name in ("edge-0", "edge-1", "auth-0", "router-0", "status-0")]
        gateway.process.kill()
        gateway.process.wait()

        def gone() -> bool:
            for pid in pids:
                try:
                    os.kill(pid, 0)
                except ProcessLookupError:
                    continue
                return False
            return True

        wait_until("all processes are gone", gone)
