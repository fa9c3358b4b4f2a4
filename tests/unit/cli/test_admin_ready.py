"""The file that says that the admin API answers."""

from __future__ import annotations

import asyncio
import contextlib

import httpx

from penstock_cli.local.admin_ready import AdminReady


async def test_a_file_that_cannot_be_removed_ends_nothing(tmp_path):
    async with httpx.AsyncClient() as client:
        admin_ready = AdminReady(tmp_path / "ready", "http://localhost", client, 0.01, print)
        (tmp_path / "ready").mkdir()  # as on a disk that has become read-only
        admin_ready.changed("status-0")


async def test_a_full_disk_delays_the_file_and_ends_nothing(tmp_path):
    said: list[str] = []
    answers = httpx.MockTransport(lambda request: httpx.Response(200))
    (tmp_path / ".ready.part").mkdir()  # where the file would be written first
    async with httpx.AsyncClient(transport=answers) as client, asyncio.timeout(10):
        admin_ready = AdminReady(tmp_path / "ready", "http://localhost", client, 0.01, said.append)
        keeping = asyncio.create_task(admin_ready.keep())
        admin_ready.changed("status-0")
        while not said:
            await asyncio.sleep(0.01)
        (tmp_path / ".ready.part").rmdir()
        while not (tmp_path / "ready").exists():
            await asyncio.sleep(0.01)
        assert said == [f"{tmp_path / 'ready'} cannot be written: Is a directory"]
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
