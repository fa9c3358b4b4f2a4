"""Where the `penstock` command begins: whoever presses Ctrl-C while the rest is read in sees no traceback."""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of what Ctrl-C ended, as shells have it."""


def main() -> None:
    """Read the command line's modules in, and run one command."""
    deaf = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    if not deaf:
        # An import can make another error of a KeyboardInterrupt; nothing is begun yet that would have to be ended.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from penstock_cli.main import main as run  # noqa: PLC0415 -- reading it in takes most of a second

    try:
        if not deaf:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
