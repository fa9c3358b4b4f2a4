"""Imports without what a library takes along where it is installed, and we have no use for."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from types import ModuleType
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


@contextlib.contextmanager
def blank(name: str) -> Iterator[None]:
    """Let imports within find a module that has every name, and nothing under any; one that is imported already stays.

    For a package that imports one of its parts whatever one wants of it. What took a name from it has None for ever;
    whoever imports the module afterwards gets the real one.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = _Blank(name)
    try:
        yield
    finally:
        sys.modules.pop(name, None)


class _Blank(ModuleType):
    def __getattr__(self, name: str) -> None:
        # What has two underscores is the import system's.
        if name.startswith("__"):
            raise AttributeError(name)


def later(name: str) -> None:
    """Have a module loaded when somebody first asks it for something, and not when it is imported from its package.

    An import by its whole name asks it whether it is loaded.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    # Where its package has it already, an import from there does not look at it.
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
