"""Times that bound all others, and for how long what was lent is good. Monotonic seconds."""

from __future__ import annotations

import math
from typing import Final

NEVER: Final = math.inf
LONG_AGO: Final = -math.inf

CREDIT_SECONDS: Final = 60.0
"""Spare money may be used for so long where there is room, so that prepaid customers outlast a restart of auth."""
ROOMY_SECONDS: Final = 5.0
"""An allowance with a longer life comes from a key that is far from its limits."""
SOON_SECONDS: Final = 0.1
"""What should go back waits so long for company."""
