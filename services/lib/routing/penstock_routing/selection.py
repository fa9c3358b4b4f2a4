"""Which of several eligible accounts takes a request: rendezvous with an affinity, else the less loaded of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_routing import rendezvous

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def affine(
    digest: int, salts: Sequence[int], weights: Sequence[float], loads: Sequence[float], factor: float, floor: int
) -> int:
    """Return the index with the best rendezvous score among those within their bound; weights > 0, none empty."""
    total, total_weight = sum(loads), sum(weights)
    best, best_score = -1, -1.0
    for index, weight in enumerate(weights):
        load = loads[index]
        if load >= floor and load >= rendezvous.bound(total, weight, total_weight, factor, floor):
            continue
        score = rendezvous.score(digest, salts[index], weight)
        if score > best_score:
            best, best_score = index, score
    # The bounds add up to more than what is out, so somebody is within his; rounding cannot change that (ceil).
    return best


def two(weights: Sequence[float], loads: Sequence[float], rng: Callable[[], float]) -> int:
    """Draw two by weight and return the index of the less loaded for its weight; of equals the first drawn."""
    count = len(weights)
    if count == 1:
        return 0
    total = sum(weights)
    first = _draw(weights, total, rng())
    rest = total - weights[first]
    if rest <= 0:
        return first
    second = _draw_without(weights, rest, rng(), first)
    return second if loads[second] * weights[first] < loads[first] * weights[second] else first


def share_of(weights: Sequence[float], loads: Sequence[float]) -> list[float]:
    """Return a score for each: the higher, the sooner it is taken when there is no affinity."""
    return [weight / (load + 1) for weight, load in zip(weights, loads, strict=True)]


def _draw(weights: Sequence[float], total: float, draw: float) -> int:
    left = draw * total
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return index
    return len(weights) - 1


def _draw_without(weights: Sequence[float], total: float, draw: float, without: int) -> int:
    left = draw * total
    last = 0
    for index, weight in enumerate(weights):
        if index == without:
            continue
        left -= weight
        last = index
        if left < 0:
            break
    return last
