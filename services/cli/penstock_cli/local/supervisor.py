"""All processes of a local gateway together: start, wait for the end, and end them in order."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock_cli.local.processes import Child

RESERVE_SECONDS = 0.4
"""What each later stage has at least, however long the earlier ones take."""


class Supervisor:
    """Keeps children running; `stop` ends them stage by stage, `kill` at once.

    `stage_begins` is told before each stage of the end whether it is the last one.
    """

    def __init__(
        self,
        children: Sequence[Child],
        clock: Callable[[], float],
        stage_begins: Callable[[bool], None] = lambda last: None,  # noqa: ARG005 -- a hook that does nothing
    ) -> None:
        self.children = sorted(children, key=lambda child: child.program.stage)
        self._clock = clock
        self._stage_begins = stage_begins

    def start(self) -> None:
        """Start all at once: each waits for those it needs by itself."""
        for child in self.children:
            child.start()

    async def stop(self, total_seconds: float) -> bool:
        """End all within the time; those that take longer are killed. True when all ended by themselves."""
        deadline = self._clock() + total_seconds
        for child in self.children:
            child.let_end()
        clean = True
        stages = [list(stage) for _, stage in groupby(self.children, key=lambda child: child.program.stage)]
        for number, members in enumerate(stages, start=1):
            self._stage_begins(number == len(stages))
            reserve = RESERVE_SECONDS * (len(stages) - number)
            left = max(deadline - self._clock() - reserve, 0.0)
            ended = await asyncio.gather(*(child.stop(min(child.program.end_seconds, left)) for child in members))
            late = [child for child, over in zip(members, ended, strict=True) if not over]
            await asyncio.gather(*(child.kill() for child in late))
            clean = clean and not late
        return clean

    async def kill(self) -> None:
        """End all now."""
        await asyncio.gather(*(child.kill() for child in self.children))
