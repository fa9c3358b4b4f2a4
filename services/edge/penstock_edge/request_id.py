"""Names of requests: made when a request arrives, sent upstream, shown to the client, and the ledger's key."""

from __future__ import annotations

import os
import random
import time
from typing import Final

PREFIX: Final = "req_"
_HEX_DIGITS: Final = 32
_TAIL_DIGITS: Final = 20
_AHEAD: Final = 64


def _repeated(tail: int) -> int:
    return sum(tail << 80 * i for i in range(_AHEAD))


# RFC 9562's UUID version 7: the unix ms, and 80 bits of which 74 are random.
_MARKS: Final = _repeated(0x7 << 76 | 0x2 << 62)
_NOISE: Final = _repeated(0xFFF << 64 | 0x3FFFFFFFFFFFFFFF)


def tails(noise: int) -> str:
    """Return the last 20 hex digits of 64 names, one after the other, made of so many times 80 random bits."""
    return (noise & _NOISE | _MARKS).to_bytes(10 * _AHEAD, "big").hex()


class _Names:
    """Makes names. What all names of a millisecond begin with is written once, and noise is drawn for many at once."""

    __slots__ = ("_at", "_beginning", "_tails", "_unix_ms")

    def __init__(self) -> None:
        self._unix_ms = -1
        self._beginning = ""
        self._tails = ""
        self._at = 0

    def new(self) -> str:
        unix_ms = time.time_ns() // 1_000_000
        if unix_ms != self._unix_ms:
            self._unix_ms = unix_ms
            self._beginning = f"{PREFIX}{unix_ms:012x}"
        at = self._at
        if at >= len(self._tails):
            self._tails = tails(random.getrandbits(80 * _AHEAD))
            at = 0
        self._at = at + _TAIL_DIGITS
        return self._beginning + self._tails[at : at + _TAIL_DIGITS]

    def forget(self) -> None:
        """Use none of the noise that was drawn: another process has it too."""
        self._tails = ""
        self._at = 0


_names: Final = _Names()
os.register_at_fork(after_in_child=_names.forget)


def new() -> str:
    """Return a new request id: `req_` and the 32 hex digits of a UUIDv7."""
    return _names.new()


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
