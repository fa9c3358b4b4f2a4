"""Tie a process to the one that starts it, then become the program: `python -I -S tether.py PARENT PROGRAM ARGS...`.

This file runs in the child, before the program and without our packages: it imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PARENT_GONE = 70
"""Exit code when the parent died before the tie held."""


def tie(parent: int) -> bool:
    """Ask the kernel to kill this process when its parent dies; False when it is dead already.

    It is SIGKILL, because nothing may be left behind; what was open then stands in the spool.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    # Ctrl-C reaches the whole process group, but the end has an order that the parent keeps.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return os.getppid() == parent


def main(arguments: list[str]) -> int:
    """Tie, then run the program in this process."""
    parent, *command = arguments
    if not tie(int(parent)):
        return PARENT_GONE
    return os.execv(command[0], command)  # noqa: S606 -- the parent gave the whole command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
