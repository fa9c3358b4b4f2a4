"""Thought signatures: made here, and known again without being kept anywhere."""

from __future__ import annotations

import base64
import hashlib
import hmac

_SALT = b"penstock simulator"
_NONCE_BYTES, _MARK_BYTES = 24, 26
# Google documents these for conversations that another model began.
DUMMIES = frozenset({b"skip_thought_signature_validator", b"context_engineering_is_the_way_to_go"})
_DUMMIES_AS_BASE64 = frozenset(base64.b64decode(word.replace(b"_", b"/")) for word in DUMMIES)


def issue(seed: int, index: int) -> str:
    """Return the signature of the index-th signed part of an answer; base64 with padding, as Google's."""
    nonce = hashlib.blake2b(b"%d:%d" % (seed, index), digest_size=_NONCE_BYTES).digest()
    return base64.b64encode(nonce + _mark(nonce)).decode()


def known(signature: bytes) -> bool:
    """Whether this is a signature that was issued here, or one that means `do not look`."""
    if signature in DUMMIES or signature in _DUMMIES_AS_BASE64:
        return True
    nonce, mark = signature[:_NONCE_BYTES], signature[_NONCE_BYTES:]
    return hmac.compare_digest(_mark(nonce), mark)


def _mark(nonce: bytes) -> bytes:
    return hashlib.blake2b(nonce, digest_size=_MARK_BYTES, key=_SALT).digest()
