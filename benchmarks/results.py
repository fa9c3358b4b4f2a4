"""RESULTS.md: one section for each kind of measurement. A run replaces those that it measured."""

from __future__ import annotations

import platform
import re
import sys
import time
from pathlib import Path

INTRODUCTION = "# Results\n\nMade by `make bench`; figures compare within one section only.\n"
ORDER = ("Relaying", "Translation", "The edge's memory")


def sections(page: str) -> dict[str, str]:
    """Return a page's sections by their titles, in order."""
    parts = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)
    return {title: body.strip() for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def replaced(page: str, measured: dict[str, str]) -> str:
    """Return the page with new sections in place of those of the same titles."""
    found = sections(page) | measured
    written = [f"## {title}\n\n{found[title].strip()}\n" for title in ORDER if title in found]
    return "\n".join([INTRODUCTION, *written])


def circumstances(versions: dict[str, str], rounds: int, seconds: float) -> str:
    """Return when, on what and how something was measured."""
    those = ", ".join(f"{name} {version}" for name, version in versions.items())
    taken = "One round" if rounds == 1 else f"Medians of {rounds} rounds"
    return (
        f"{time.strftime('%Y-%m-%d')}, {machine()}. Gateway on core 0, mock and load generator on core 1. "
        f"{taken} of {seconds:g} s a case. {those}."
    )


def machine() -> str:
    """What this ran on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown CPU",
    )
    return (
        f"{model}, Linux {platform.release()}, CPython {platform.python_version()} ({Path(sys.executable).resolve()})"
    )
