#!/usr/bin/env python3
"""Print which Python of this machine to measure with: a quicker one than this, if there is one that can compile.

Images carry a Python that was built with profile-guided optimization; one that was built without runs the same code a
quarter slower, which says nothing of a gateway.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMES = ("python3", "python3.11", "python3.12", "python3.13", "python3.14")
CLEARLY = 0.9
"""Another one has to be quicker by this factor, so that noise does not choose."""
ROUNDS = 5
"""All are asked in turn so often, and the least counts: what others do on the machine lasts for seconds."""
ASK_SECONDS = 30.0
# Told by each of them: seconds for some dictionaries, numbers and bytes, the least of several tries.
ASKED = """
import sys, sysconfig, timeit
from pathlib import Path
if sys.version_info < (3, 11) or not (Path(sysconfig.get_path("include")) / "Python.h").exists():
    sys.exit(1)
def work():
    seen = {}
    for number in range(20_000):
        seen[number % 100] = str(number).encode()[-3:]
print(min(timeit.repeat(work, number=5, repeat=9)))
"""


def chosen(seconds: Mapping[Path, float], ours: Path) -> Path:
    """Return the quickest, or ours unless that is clearly slower."""
    quickest = min(seconds, key=seconds.__getitem__, default=ours)
    if ours in seconds and seconds[quickest] > seconds[ours] * CLEARLY:
        return ours
    return quickest


def candidates(folders: Iterable[str]) -> set[Path]:
    """Return the Pythons that are there, each once whatever its names."""
    places = (Path(folder) / name for folder in folders if folder for name in NAMES)
    return {place.resolve() for place in places if os.access(place, os.X_OK)}


def seconds_of(python: Path) -> float | None:
    """Let one work; None where it is too old, has no headers, or does not run."""
    try:
        told = subprocess.run(
            [python, "-I", "-c", ASKED], capture_output=True, text=True, timeout=ASK_SECONDS, check=True
        )
        return float(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def least(pythons: Iterable[Path], rounds: int = ROUNDS) -> dict[Path, float]:
    """Let all work in turn, and return the least of each that can."""
    told: dict[Path, float] = {}
    left = sorted(pythons)
    for _ in range(rounds):
        found = {python: seconds_of(python) for python in left}
        left = [python for python in left if found[python] is not None]
        told = {python: min(seconds, told.get(python, seconds)) for python, seconds in found.items() if seconds}
    return told


def main() -> None:
    """Print one path."""
    ours = Path(sys.executable).resolve()
    there = candidates([*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]) | {ours}
    print(chosen(least(there), ours))


if __name__ == "__main__":
    main()
