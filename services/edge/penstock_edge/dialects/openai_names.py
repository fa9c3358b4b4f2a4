"""What OpenAI's clients call a conversation and its user: one of the names goes on, and none that tells of a person."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CONVERSATION: Final = "prompt_cache_key"
_PERSONAL: Final = re.compile(r"[^@\s]+@[^@\s]+|\+?[\d\s()./-]{7,}")
_LONGEST_LOOK: Final = 200


def chosen(names: Mapping[str, str | None], ignored: list[str]) -> str:
    """Return the first of these names (by field) that may go on, "" without one; the others are listed."""
    found = ""
    for field, name in names.items():
        if not name or name == found:
            continue
        if found or (field != CONVERSATION and _PERSONAL.fullmatch(name[:_LONGEST_LOOK])):
            ignored.append(field)
        else:
            found = name
    return found
