"""The file that tells the edges that the admin API answers: there while it does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from penstock_cli.data_dir import forget, write_private
from penstock_cli.local import probe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx


class AdminReady:
    """Removes the file when the status process starts or ends, and writes it once its readiness answers 200.

    `say` is told, once, that the file cannot be written; it is tried again and again.
    """

    def __init__(
        self, file: Path, base: str, client: httpx.AsyncClient, poll_seconds: float, say: Callable[[str], None]
    ) -> None:
        self._file = file
        self._base = base
        self._client = client
        self._poll_seconds = poll_seconds
        self._say = say
        self._fault = ""
        self._changed = asyncio.Event()
        self._file.unlink(missing_ok=True)

    def changed(self, _name: str) -> None:
        """Note that the status process has started or ended."""
        forget(self._file)
        self._changed.set()

    async def keep(self) -> None:
        """Keep the file true, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            health = await probe.readyz(self._client, self._base)
            # It may have ended while it was asked.
            if self._changed.is_set():
                continue
            if not (health.ready and self._written()):
                self._changed.set()
                await asyncio.sleep(self._poll_seconds)

    def _written(self) -> bool:
        fault, self._fault = self._fault, ""
        try:
            write_private(self._file, "")
        except OSError as error:
            self._fault = f"{self._file} cannot be written: {error.strerror}"
            if self._fault != fault:
                self._say(self._fault)
        return not self._fault
