"""How work grows with its input, as a ratio within one run: no clock is compared with a limit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LINEAR = 9.0
"""Four times the input is four times the work when it is linear, and sixteen times when it is quadratic."""
_FEWEST_ROUNDS = 3
_ROUNDS = 12


def growth(prepare: Callable[[int], Callable[[], Any]], size: int) -> float:
    """Return how much more processor time four times `size` takes; `prepare(n)` makes the input and returns the work.

    Of each size the best round counts. Rounds alternate between the two, and go on while others on the machine may be
    why the larger one took so long.
    """
    small, large = prepare(size), prepare(4 * size)
    least = [float("inf"), float("inf")]
    for done in range(1, _ROUNDS + 1):
        least = [min(least[0], _seconds(small)), min(least[1], _seconds(large))]
        if done >= _FEWEST_ROUNDS and least[1] / least[0] < LINEAR:
            break
    return least[1] / least[0]


def _seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return max(time.process_time() - begin, 1e-4)
