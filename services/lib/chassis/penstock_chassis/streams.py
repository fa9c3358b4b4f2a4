"""What Python would still write when a process ends."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def forget_unwritten(stream: TextIO) -> None:
    """Forget what a stream could not take, for its reader is gone or the disk is full.

    Python tries once more at the end, and where that fails too the exit code is 120, whatever it was to be.
    """
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
