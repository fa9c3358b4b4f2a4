"""Tells at a glance that messages are plain text, so that a long prompt need not be looked through once more.

The Messages format and chat.completions have images, documents and signatures in lists of parts alone, and signatures
in what assistants said. A few messages of others whose content is a string hold neither, whatever their text says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import msgspec

# Of a shorter body looking through it is as cheap, and what has many messages is seldom plain.
_LONG_BYTES: Final = 4096
_FEW: Final = 4
# As SDKs write them. Each has been checked to be JSON: what ends after a string ends after its content.
_BEGINNING: Final = re.compile(rb'\{"role": ?"(?:user|system|developer)", ?"content": ?"').match
_QUOTE, _BRACE = b'"}'


def are_plain(body: bytes, messages: list[msgspec.Raw]) -> bool:
    """Whether a long body holds text alone. False when that takes more than a glance."""
    if len(body) < _LONG_BYTES or len(messages) > _FEW:
        return False
    for message in messages:
        raw = memoryview(message)
        if raw[-1] != _BRACE or raw[-2] != _QUOTE or _BEGINNING(raw) is None:
            return False
    return True
