"""Names of requests: made when a request arrives, sent upstream, shown to the client, and the ledger's key."""

from __future__ import annotations

import random
import time

PREFIX = "req_"
_HEX_DIGITS = 32
_VERSION_AND_VARIANT = 0x7 << 76 | 0x2 << 62
_NOISE = 0xFFF << 64 | 0x3FFFFFFFFFFFFFFF


def uuid7(unix_ms: int, noise: int) -> int:
    """Return RFC 9562's UUID version 7 of a time and 80 random bits, of which 74 are used, as an integer."""
    return unix_ms << 80 | noise & _NOISE | _VERSION_AND_VARIANT


def new() -> str:
    """Return a new request id: `req_` and the 32 hex digits of a UUIDv7."""
    return PREFIX + uuid7(time.time_ns() // 1_000_000, random.getrandbits(80)).to_bytes(16, "big").hex()


def made_at_ms(request_id: str) -> int | None:
    """Return when a request id was made (unix ms), or None for a text that is no request id."""
    digits = request_id.removeprefix(PREFIX)
    if len(digits) != _HEX_DIGITS or digits == request_id:
        return None
    try:
        number = int(digits, 16)
    except ValueError:
        return None
    return number >> 80 if (number >> 76) & 0xF == 0x7 else None
