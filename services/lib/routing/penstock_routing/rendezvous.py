"""Weighted rendezvous hashing: the same affinity meets the same account on every edge, and few move when one leaves."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Sequence

_MASK: Final = 0xFFFFFFFFFFFFFFFF
_ONE: Final = 0x9E3779B97F4A7C15
_TWO: Final = 0xBF58476D1CE4E5B9
_THREE: Final = 0x94D049BB133111EB
_UNIT: Final = 1.0 / (1 << 53)


def salt(name: str) -> int:
    """Return the 64-bit salt of an account, the same in every process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def digest(affinity: bytes) -> int:
    """Return a short hash of an affinity key, the same in every process."""
    return crc32(affinity) * _ONE & _MASK


def score(affinity_digest: int, account_salt: int, weight: float) -> float:
    """Return an account's score for an affinity; the highest wins. Weight 0 (or less) scores 0."""
    if weight <= 0:
        return 0.0
    x = affinity_digest ^ account_salt
    x = ((x ^ (x >> 30)) * _TWO) & _MASK
    x = ((x ^ (x >> 27)) * _THREE) & _MASK
    x ^= x >> 31
    return -weight / math.log(((x >> 11) + 0.5) * _UNIT)


def bound(total: float, weight: float, total_weight: float, factor: float, floor: int) -> int:
    """Return how many requests at once an account may have, this one included, when `total` others are out."""
    if total_weight <= 0:
        return floor
    return max(floor, math.ceil(factor * (total + 1) * weight / total_weight))


def order(
    affinity_digest: int,
    salts: Sequence[int],
    weights: Sequence[float],
    loads: Sequence[float],
    factor: float,
    floor: int,
) -> list[int]:
    """Return indexes, best first: by score, those within their bound before those at it."""
    total, total_weight = sum(loads), sum(weights)
    keys = [
        (
            loads[index] >= bound(total, weights[index], total_weight, factor, floor),
            -score(affinity_digest, salts[index], weights[index]),
        )
        for index in range(len(salts))
    ]
    return sorted(range(len(salts)), key=keys.__getitem__)
