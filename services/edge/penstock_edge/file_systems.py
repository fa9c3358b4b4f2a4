"""Where a file may be written through a map of its pages without the risk that a page cannot be had.

Who writes to such a page is ended by a signal, SIGBUS, and not told by an error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# What was reserved with `posix_fallocate` stays so on these, and pages can be had even when the disk has failed. Not
# so where a write needs new blocks (btrfs, ZFS), where others only imitate (NFS, FUSE), nor on XFS that has shut down.
_SAFE: Final = frozenset({"ext4", "tmpfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")


def maps_safely(folder: Path, mounts: Path = _MOUNTS) -> bool:
    """Say whether files in `folder` can be mapped and never bring the signal. Raises OSError: no such folder."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(_device(line) == wanted and _is_safe(line) for line in lines)


def _device(line: str) -> str:
    """Return the third field: `36 35 98:0 /root /mnt/volume rw shared:1 - ext4 /dev/sda rw`."""
    fields = line.split(" ", 3)
    return fields[2] if len(fields) > 3 else ""


def _is_safe(line: str) -> bool:
    """Look at what follows the lone hyphen; an ext4 that journals data asks its journal for each page."""
    kind, _, rest = line.partition(" - ")[2].partition(" ")
    return kind in _SAFE and "data=journal" not in rest
