"""What is built up after a loss of the counters: once for all who wait, and to the end, whoever gives up waiting.

A busy project has hundreds of thousands of recent rows in the ledger, an edge tens of thousands of keys to declare. To
take them in takes longer than a call may wait; would each call begin anew, none would ever be answered.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from penstock_auth.counters import StoreDown

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


AT_ONCE: Final = 8  # the database has others to answer too
MOST: Final = 20_000


class Rebuilding:
    """`rebuild` rebuilds one project (or takes in one session). Whatever it raises, all who wait for it hear of it.

    At most `at_once` are under way; more than `MOST` that wait are too many.
    """

    def __init__(self, rebuild: Callable[[str], Coroutine[None, None, None]], *, at_once: int = AT_ONCE) -> None:
        self._rebuild = rebuild
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(at_once)

    async def wait(self, project: str) -> None:
        """Return when the project has been rebuilt; begin with it unless somebody has. StoreDown: too many wait."""
        task = self._tasks.get(project)
        if task is None:
            if len(self._tasks) >= MOST:
                raise StoreDown("too many projects wait for being rebuilt")
            task = self._tasks[project] = asyncio.create_task(self._in_turn(project), name="rebuild")
            task.add_done_callback(partial(self._done, project))
        await asyncio.shield(task)

    async def ended(self, project: str) -> None:
        """Return when nobody rebuilds the project any more, however that went."""
        task = self._tasks.get(project)
        if task is not None:
            await asyncio.wait([task])

    async def _in_turn(self, project: str) -> None:
        async with self._places:
            await self._rebuild(project)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, project: str, task: asyncio.Task[None]) -> None:
        del self._tasks[project]
        if not task.cancelled():
            task.exception()  # Perhaps nobody waits any more; the next call tries again.
