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
# As encoders write them that sort their keys, Go's among them: the content is a string if it begins as one.
_SORTED_BEGINNING: Final = re.compile(rb'\{"content": ?"').match
_SORTED_END: Final = re.compile(rb'", ?"role": ?"(?:user|system|developer)"\}\Z').search
_SORTED_END_BYTES: Final = len('", "role": "developer"}')
_QUOTE, _BRACE = b'"}'


def are_plain(body: bytes, messages: list[msgspec.Raw]) -> bool:
    """Whether a long body holds text alone. False when that takes more than a glance."""
    if len(body) < _LONG_BYTES or len(messages) > _FEW:
        return False
    for message in messages:
        raw = memoryview(message)
        if raw[-1] != _BRACE or raw[-2] != _QUOTE or (_BEGINNING(raw) is None and not _is_sorted(raw)):
            return False
    return True


def _is_sorted(raw: memoryview) -> bool:
    """Whether a message is its content, a string, and then its role. Within a string, quotes have a backslash."""
    return _SORTED_BEGINNING(raw) is not None and _SORTED_END(raw[-_SORTED_END_BYTES:]) is not None
