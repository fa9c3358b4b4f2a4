"""Says what was ignored in the client's own words, where the canonical form calls a field otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FIELD: Final = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")


def in_client_words(ignored: Iterable[str], names: Mapping[str, str]) -> list[str]:
    """Return canonical fields under the client's names for them, as far as `names` knows any.

    A field goes by the name of what it is in, if only that has one. Places in lists are left out with it: they are
    those of the canonical form. What the client calls "" it has not said, and so it does not hear of it.
    """
    words = (_renamed(entry, names) for entry in ignored)
    return [word for word in words if word]


def _renamed(entry: str, names: Mapping[str, str]) -> str:
    match = _FIELD.match(entry)
    if match is None:
        return entry
    known = match[0]
    while known not in names:
        known, dot, _ = known.rpartition(".")
        if not dot:
            return entry
    if not names[known]:
        return ""
    inner = [part for part in match[0][len(known) :].split(".") if part and not part.isdecimal()]
    return ".".join([names[known], *inner]) + entry[match.end() :]
