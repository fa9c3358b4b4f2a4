"""The API key of a request: where it stands, and whether it can be one at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_catalog import api_key
from penstock_edge.errors import BAD_KEY, NO_KEY, ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_BEARER = b"bearer "


def find_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the key text: x-api-key, else Authorization: Bearer, else x-goog-api-key; None when there is none."""
    bearer = google = None
    for name, value in headers:
        if name == b"x-api-key":
            if text := value.strip():
                return text
        elif name == b"authorization":
            if value[:7].lower() == _BEARER:
                bearer = bearer or value[7:].strip()
        elif name == b"x-goog-api-key":
            google = google or value.strip()
    return bearer or google or None


def key_digest(headers: Iterable[tuple[bytes, bytes]], known: Callable[[bytes], object]) -> bytes:
    """Return the digest of a request's key. Raises ProblemError (401) when there is none or its checksum is wrong.

    `known(digest)` is not None for keys that auth has confirmed: their checksum needs no second look.
    """
    text = find_key(headers)
    if text is None:
        raise ProblemError(NO_KEY)
    key = text.decode("latin-1")
    digest = api_key.digest(key)
    if known(digest) is None and not api_key.well_formed(key):
        raise ProblemError(BAD_KEY)
    return digest
