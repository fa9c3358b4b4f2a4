"""Long work in stretches: after each of them the processor goes to whoever else waits for it.

Nobody waits for a settlement, while whatever shares a core with auth may be on some request's way. The scheduler would
let a batch run for a whole slice, milliseconds, before it looks.
"""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

AT_A_STRETCH: Final = 16
"""So many settlements take about a tenth of a millisecond in each step of their way."""

give_way: Final = os.sched_yield
"""Let others have the processor first, if any wait for it: a third of a microsecond if none does."""


def stretches(many: Sequence[T], most: int = AT_A_STRETCH) -> Iterator[Sequence[T]]:
    """Give parts of at most so many, in order, and give way after each."""
    for start in range(0, len(many), most):
        yield many[start : start + most]
        give_way()


def in_stretches(many: Sequence[T]) -> Iterator[T]:
    """Give each, in order, and give way after every stretch."""
    return chain.from_iterable(stretches(many))
