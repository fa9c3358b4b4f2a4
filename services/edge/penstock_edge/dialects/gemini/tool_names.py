"""Names of functions: Google allows dots, colons and any length that others do not, so some travel in disguise."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_fits = re.compile(r"[a-zA-Z0-9_-]{1,128}").fullmatch
_UNFIT: Final = re.compile(r"[^a-zA-Z0-9_-]")
_KEPT_LETTERS: Final = 48


class ToolNames:
    """One request's names. The disguise is made of the name alone, so it is the same in every turn."""

    __slots__ = ("_disguised",)

    def __init__(self) -> None:
        self._disguised: dict[str, str] = {}

    def canonical(self, name: str) -> str:
        """Return the name that every format takes."""
        if _fits(name):
            return name
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        disguise = f"{_UNFIT.sub('_', name)[:_KEPT_LETTERS]}_{digest}"
        self._disguised[disguise] = name
        return disguise

    def original(self, name: str) -> str:
        """Return the client's own name for a canonical one."""
        return self._disguised.get(name, name)
