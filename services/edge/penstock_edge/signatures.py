"""Whose thinking it is: a provider's signature, tagged with the provider's name on its way through another format.

A provider honours only its own signatures and refuses a conversation that holds another's. Those that pass between
one wire format's client and upstream are never touched, so a signature without a tag is that upstream's own, or of
unknown origin, and passes as it is.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

_TAG: Final = b"penstock-v1:"
# Twelve bytes are sixteen characters of base64, so the tag shows at the beginning of the text.
_SHOWN: Final = base64.b64encode(_TAG).decode()
_SHOWN_BYTES: Final = _SHOWN.encode()
# The letter of it that texts and programs hold least: looking for one byte is five times as fast as for sixteen.
_RARE: Final = b"V"
_RARE_AT: Final = _SHOWN_BYTES.index(_RARE)
_TRIES: Final = 32

UNSIGNED_CALL: Final = "skip_thought_signature_validator"
"""What Google's documentation names for function calls and images from elsewhere; in place of a signature."""

_NOBODY_AT_ALL: Final[frozenset[str]] = frozenset()
_SIGNED_ALWAYS: Final = frozenset({"functionCall", "function_call", "inlineData", "inline_data"})
"""Parts of the model's that Google wants signed."""
_KEYS: Final = ("signature", "thoughtSignature", "thought_signature", "encrypted_content", "data")


def tag(signature: str, provider: str) -> str:
    """Return a signature that says who made it; base64, as every format that carries signatures demands."""
    return base64.b64encode(_TAG + provider.encode() + b":" + signature.encode()).decode()


NOBODYS: Final = tag("", "nobody")
"""Signs thinking that nobody signed, where a format demands a signature and its own provider would judge it."""


def origin(tagged: str) -> str | None:
    """Return the provider that made a tagged signature; None for one without a tag."""
    parts = _parts(tagged)
    return None if parts is None else parts[0]


def own(tagged: str, provider: str) -> str | None:
    """Return the signature that `provider` itself made; None when it made none of this."""
    parts = _parts(tagged)
    return parts[1] if parts is not None and parts[0] == provider else None


def says_something(tagged: str) -> bool:
    """Whether a tagged signature holds one: some tags only say whose thinking it was."""
    parts = _parts(tagged)
    return parts is not None and bool(parts[1])


def origins(body: bytes) -> frozenset[str]:
    """Return the providers whose tagged signatures stand in a request body. Quick when there are none."""
    if not _any(body):
        return _NOBODY_AT_ALL
    found: set[str] = set()
    start = body.find(_SHOWN_BYTES)
    while start >= 0:
        # Enough for every provider's name; what is cut off within a group of four is left out.
        text = body[start : start + 64].split(b'"', 1)[0]
        provider = origin_of_beginning(text)
        if provider:
            found.add(provider)
        start = body.find(_SHOWN_BYTES, start + len(_SHOWN_BYTES))
    return frozenset(found)


def _any(body: bytes) -> bool:
    """Whether there is any tag: at the first few of its rarest letters, then anywhere in the rest."""
    place, tries = body.find(_RARE), _TRIES
    while place >= 0 and tries > 0:
        if body.startswith(_SHOWN_BYTES, max(0, place - _RARE_AT)):
            return True
        place, tries = body.find(_RARE, place + 1), tries - 1
    # From behind, because CPython looks several times faster that way.
    return place >= 0 and body.rfind(_SHOWN_BYTES, max(0, place - _RARE_AT)) >= 0


def origin_of_beginning(text: bytes) -> str:
    """Return the provider named at the beginning of a tagged signature, "" when it cannot be read."""
    try:
        plain = base64.b64decode(text[: len(text) // 4 * 4], validate=True)
    except binascii.Error:
        return ""
    name, colon, _ = plain[len(_TAG) :].partition(b":")
    return name.decode("ascii", "replace") if colon else ""


def cleaned(document: Any, provider: str, path: str = "") -> tuple[Any, list[str]]:
    """Return a request's JSON as `provider` may see it, and the paths of what was left out.

    Its own signatures lose their tag; thinking that others signed is left out whole, and a foreign signature on
    something else is left out alone: of a function call of Gemini's something harmless takes its place. What has no
    tag stays.
    """
    dropped: list[str] = []
    return _clean(document, provider, path, dropped), dropped


_DROP: Final = object()


def _clean(value: Any, provider: str, path: str, dropped: list[str]) -> Any:
    if isinstance(value, list):
        kept = (
            _clean(item, provider, f"{path}.{index}" if path else str(index), dropped)
            for index, item in enumerate(value)
        )
        return [item for item in kept if item is not _DROP]
    if not isinstance(value, dict):
        return value
    whole = _is_thinking(value)
    result = {}
    for key, item in value.items():
        where = f"{path}.{key}" if path else key
        if key in _KEYS and isinstance(item, str) and item.startswith(_SHOWN):
            mine = own(item, provider)
            if mine is not None:
                result[key] = mine
                continue
            dropped.append(path if whole else where)
            if whole:
                return _DROP
            if not _SIGNED_ALWAYS.isdisjoint(value):
                result[key] = UNSIGNED_CALL
            continue
        result[key] = _clean(item, provider, where, dropped)
    return result


def _is_thinking(block: dict[str, Any]) -> bool:
    return block.get("type") in {"thinking", "redacted_thinking", "reasoning"} or block.get("thought") is True


def _parts(tagged: str) -> tuple[str, str] | None:
    if not tagged.startswith(_SHOWN):
        return None
    try:
        # Some clients decode it and write it anew, in the alphabet of URLs.
        plain = base64.b64decode(tagged.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, signature = plain[len(_TAG) :].partition(b":")
    if not colon:
        return None
    try:
        return name.decode("ascii"), signature.decode()
    except UnicodeDecodeError:
        return None
