"""How work grows with its input, as a ratio within one run: no clock is compared with a limit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LINEAR = 9.0
"""Four times the input is four times the work when it is linear, and sixteen times when it is quadratic."""


def growth(prepare: Callable[[int], Callable[[], Any]], size: int) -> float:
    """Return how much more processor time four times `size` takes; `prepare(n)` makes the input and returns the work."""

    def best(n: int) -> float:
        work = prepare(n)
        times = []
        for _ in range(3):
            begin = time.process_time()
            work()
            times.append(time.process_time() - begin)
        return max(min(times), 1e-4)

    return best(4 * size) / best(size)
