"""Ids of function calls: those that Google gives, and made ones where it gives none."""

from __future__ import annotations

import hashlib
import re

_fits = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
# OpenAI takes ids of up to 40 letters back, should a chat go on there.
_MOST_LETTERS = 30


class CallIds:
    """One answer's ids. Made ones hold the answer's own id, so that no two answers of a conversation share one."""

    __slots__ = ("_made", "_name", "_used")

    def __init__(self, response_id: str | None, raw: bytes) -> None:
        self._name = _UNFIT.sub("", response_id or "")[:_MOST_LETTERS] or hashlib.sha256(raw).hexdigest()[:24]
        self._made = 0
        self._used: set[str] = set()

    def take(self, given: str | None) -> str:
        """Return the id of the next call."""
        free = given is not None and _fits(given) is not None and given not in self._used
        chosen = given if given is not None and free else f"call_{self._name}_{self._made}"
        self._made += 1
        self._used.add(chosen)
        return chosen
