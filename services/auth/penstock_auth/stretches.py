"""Long work in stretches: after each of them the processor goes to whoever else waits for it.

Nobody waits for a settlement, while whatever shares a core with auth may be on some request's way. The scheduler would
let a batch run for a whole slice, milliseconds, before it looks.

Who does not wait for anything, but computes, keeps a processor that it is given for a whole slice. So that a batch is
written in time beside such a one too, three times what was given away passes before more is.
"""

from __future__ import annotations

import os
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

AT_A_STRETCH: Final = 16
"""So many settlements take about a tenth of a millisecond in each step of their way."""

_KEPT: Final = 3
"""For each moment that was given away, so many pass before another is."""


class _Giving:
    """When the processor may be given away again; the threads of a process share it, and need not agree to the tick."""

    __slots__ = ("_from",)

    def __init__(self) -> None:
        self._from = 0.0

    def give_way(self) -> None:
        """Let others have the processor first, if any wait for it: half a microsecond if none does."""
        began = perf_counter()
        if began >= self._from:
            os.sched_yield()
            ended = perf_counter()
            self._from = ended + _KEPT * (ended - began)


give_way: Final = _Giving().give_way


def stretches(many: Sequence[T], most: int = AT_A_STRETCH) -> Iterator[Sequence[T]]:
    """Give parts of at most so many, in order, and give way after each."""
    for start in range(0, len(many), most):
        yield many[start : start + most]
        give_way()


def in_stretches(many: Sequence[T]) -> Iterator[T]:
    """Give each, in order, and give way after every stretch."""
    return chain.from_iterable(stretches(many))
