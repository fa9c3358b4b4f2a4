"""How hard properties are tried: PENSTOCK_TEST_EXAMPLES (usually 30) scales every number of examples."""

from __future__ import annotations

import os

EXAMPLES = int(os.environ.get("PENSTOCK_TEST_EXAMPLES", "30"))


def examples(usual: int) -> int:
    """Return how many examples to try of a property that usually gets `usual`."""
    return max(1, usual * EXAMPLES // 30)
