"""How hard properties are tried: PENSTOCK_TEST_EXAMPLES (usually 20) scales every number of examples."""

from __future__ import annotations

import os

EXAMPLES = int(os.environ.get("PENSTOCK_TEST_EXAMPLES", "20"))


def examples(usual: int) -> int:
    """Return how many examples to try of a property that gets `usual` where others get thirty."""
    return max(1, usual * EXAMPLES // 30)
