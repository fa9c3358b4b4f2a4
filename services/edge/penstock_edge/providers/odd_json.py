"""JSON that strict readers refuse and SDKs read: half a surrogate pair, as JavaScript cuts texts, and NaN."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

_ODD: Final = re.compile(rb"\\u[dD][89a-fA-F]|NaN|Infinity")
_HALF: Final = re.compile("[\ud800-\udfff]")


def mended(data: bytes) -> bytes:
    """Return the JSON that a strict reader takes for `data`, b"" when there is none; of what it returned always b"".

    Halves of pairs become U+FFFD, and numbers that are none null.
    """
    if _ODD.search(data) is None:
        return b""
    try:
        text = json.dumps(json.loads(data, parse_constant=_nothing), ensure_ascii=False)
        plain = _HALF.sub("\ufffd", text).encode()
        msgspec.json.decode(plain)
    except (ValueError, RecursionError):
        return b""
    return plain if plain != data else b""


def mended_event(data: bytes) -> bytes:
    """Return the event whose data that is, b"" when there is none."""
    plain = mended(data)
    return b"data: %b\n\n" % plain if plain else b""


def decoded(text: str) -> Any:
    """Return what JSON says, odd or not. Raises msgspec.DecodeError, RecursionError or UnicodeError."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        plain = mended(text.encode())
        if not plain:
            raise
        return msgspec.json.decode(plain)


def _nothing(_word: str) -> None:
    return None
