"""The API key of a request: where it stands, and whether it can be one at all."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from penstock_catalog import api_key
from penstock_edge.errors import BAD_KEY, NO_KEY, ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.dialects.dialect import Headers

_BEARER: Final = b"bearer "
_sha256: Final = hashlib.sha256


def find_key(headers: Headers) -> bytes | None:
    """Return the key text: x-api-key, else Authorization: Bearer, else x-goog-api-key; None when there is none."""
    bearer = google = None
    for name, value in headers:
        # Most headers are told by their length already, which takes no call.
        size = len(name)
        if size == 9 and name == b"x-api-key":
            if text := value.strip():
                return text
        elif size == 13 and name == b"authorization":
            if value[:7].lower() == _BEARER:
                bearer = bearer or value[7:].strip()
        elif size == 14 and name == b"x-goog-api-key":
            google = google or value.strip()
    return bearer or google or None


def key_digest(headers: Headers, known: Callable[[bytes], object]) -> bytes:
    """Return the digest of a request's key. Raises ProblemError (401) when there is none or its checksum is wrong.

    `known(digest)` is not None for keys that auth has confirmed: their checksum needs no second look.
    """
    # It is computed for every request. A memo would have to keep keys, or trust a hash that is weaker than this one.
    text = find_key(headers)
    if text is None:
        raise ProblemError(NO_KEY)
    digest = _digest(text)
    if known(digest) is None and not api_key.well_formed(text.decode("latin-1")):
        raise ProblemError(BAD_KEY)
    return digest


def _digest(text: bytes) -> bytes:
    """Return `api_key.digest` of a text; of ASCII, as all keys are, that is of the bytes as they came."""
    return _sha256(text).digest() if text.isascii() else api_key.digest(text.decode("latin-1"))
