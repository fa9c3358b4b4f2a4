"""The operator process: puts its parts together, in this order, and lives."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from penstock_catalog.cluster_access import AccessError, ClusterAccess, find_access
from penstock_chassis import logs
from penstock_chassis.process import StartError, run
from penstock_operator.cluster import Cluster
from penstock_operator.settings import OperatorSettings

if TYPE_CHECKING:
    from collections.abc import Coroutine

_log = logs.get(__name__)


class OperatorService:
    """One life of the operator, for the chassis."""

    def __init__(self, settings: OperatorSettings, access: ClusterAccess | None = None) -> None:
        self.settings = settings
        self._access = access or _access()
        self.cluster = Cluster(self._access, settings.namespace, deadline_seconds=settings.api_deadline_seconds)
        self._tasks: list[asyncio.Task[None]] = []
        self._failed = ""

    async def start(self) -> None:
        """Begin everything; what is not there yet is waited for in the background, and told by `ready`."""

    async def drain(self, seconds: float) -> None:
        """Stop. Whatever was half done is done by the next operator."""
        del seconds
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.cluster.close()

    def ready(self) -> tuple[bool, str]:
        """Ready when everything has been seen and the last turn could do all that it wanted."""
        if self._failed:
            return False, f"{self._failed} ended"
        return True, ""

    def _begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        self._failed = task.get_name()
        _log.error("task_ended", task=task.get_name(), exc_info=task.exception())


def _access() -> ClusterAccess:
    try:
        return find_access(os.environ)
    except AccessError as error:
        raise StartError(str(error)) from error


def main() -> None:
    """Live."""
    settings = OperatorSettings()
    sys.exit(run(lambda: OperatorService(settings), settings))


if __name__ == "__main__":
    main()
