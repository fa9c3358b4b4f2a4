"""How an attempt stands that is being taken to its end by whoever brings something of its answer."""

from typing import Final

UNDERWAY: Final = 0
"""More of it has to come."""
ENDED: Final = 1
UNFIT: Final = 2
"""The next step may have to wait for somebody: it takes a task."""
