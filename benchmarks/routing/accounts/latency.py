"""How long an answer takes: reading the prompt (much faster from the cache), then token after token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds and tokens a second; spreads are those of the logarithm."""

    base: float = 0.45
    base_spread: float = 0.25
    prefill: float = 12_000.0
    prefill_cached: float = 150_000.0
    decode: float = 70.0
    decode_spread: float = 0.15

    def expected_first(self, fresh: int, cached: int) -> float:
        """Return the median time to the first token."""
        return self.base + fresh / self.prefill + cached / self.prefill_cached

    def draw(self, rng: Random) -> float:
        """Draw how much faster or slower than that one is."""
        return math.exp(rng.gauss(0.0, self.base_spread))

    def rest(self, output: int, rng: Random) -> float:
        """Draw the time from the first token to the last."""
        return output / self.decode * math.exp(rng.gauss(0.0, self.decode_spread))
