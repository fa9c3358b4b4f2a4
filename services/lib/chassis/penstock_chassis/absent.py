"""Imports without what a library takes along where it is installed, and we have no use for."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def absent(*names: str) -> Iterator[None]:
    """Let imports within go on as if these modules were not installed; those that are imported already stay.

    For the start of a process: whoever imports one of them meanwhile in another thread would not find it either.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # by the import system's own rule: there is no such module
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
