"""Whether this process runs the modules that were compiled, or their sources (docs/compiled.md)."""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

# What several compiled modules share is a module of its own, which has no source.
_SHARED = "__mypyc"


def count(modules: Mapping[str, ModuleType] = sys.modules) -> int:
    """Return how many of our modules that are loaded are compiled ones: 0 when all are sources."""
    return sum(
        (getattr(module, "__file__", None) or "").endswith(tuple(EXTENSION_SUFFIXES))
        for name, module in list(modules.items())
        if name.startswith("penstock_") and not name.endswith(_SHARED)
    )
