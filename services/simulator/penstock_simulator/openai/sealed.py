"""Encrypted reasoning: what the simulator has issued it knows again, for the account that it issued it to. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = "gAAAAAB"
_KEY = b"the simulator's reasoning"
_MAC_BYTES = 16
_OWNER_BYTES = 8
_COUNT_BYTES = 4


class SealError(ValueError):
    """Why an encrypted content is not accepted, in the words of the real API."""


def _owner(organization: str) -> bytes:
    return hashlib.sha256(organization.encode()).digest()[:_OWNER_BYTES]


def _mac(payload: bytes) -> bytes:
    return hmac.digest(_KEY, payload, "sha256")[:_MAC_BYTES]


def _encoded(raw: bytes) -> str:
    return _PREFIX + base64.urlsafe_b64encode(raw).decode()


def seal(organization: str, reasoning: str, tokens: int) -> str:
    """Return the encrypted form of a reasoning of so many tokens; about as long as the reasoning itself."""
    hidden = hashlib.shake_256(reasoning.encode()).digest(max(64, len(reasoning)))
    payload = _owner(organization) + tokens.to_bytes(_COUNT_BYTES, "big") + hidden
    return _encoded(_mac(payload) + payload)


def unseal(organization: str, content: str) -> int:
    """Return the tokens of the reasoning in an encrypted content. Raises SealError."""
    broken = SealError("Encrypted content could not be decrypted or parsed.")
    if not content.startswith(_PREFIX):
        raise broken
    try:
        raw = base64.b64decode(content[len(_PREFIX) :].encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise broken from None
    mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    # The last letter has bits to spare: it must be the one that was issued all the same.
    if not hmac.compare_digest(mac, _mac(payload)) or _encoded(raw) != content:
        raise broken
    if payload[:_OWNER_BYTES] != _owner(organization):
        raise SealError("Encrypted content organization_id did not match the target organization.")
    return int.from_bytes(payload[_OWNER_BYTES : _OWNER_BYTES + _COUNT_BYTES], "big")
