"""Numbers as protobuf writes them: seven bits to a byte, the lowest first, and in each byte whether another follows.

A message may be put together from bytes: what was serialized apart is one message when it stands in a row. Where many
messages differ in few fields, that is a fraction of what filling in and serializing each of them costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message

_LAST: Final = [bytes((bits,)) for bits in range(128)]
_MORE: Final = [bytes((bits | 128,)) for bits in range(128)]
# Times in ms between 1971 and 10,889.
_MOMENTS_FROM: Final = 1 << 35
_MOMENTS_TO: Final = 1 << 48


def tag(message: type[Message], field: str) -> bytes:
    """Return what stands before a value of this field: its number, and whether a number or a length follows."""
    found = message.DESCRIPTOR.fields_by_name[field]
    by_length = found.type in {found.TYPE_STRING, found.TYPE_BYTES, found.TYPE_MESSAGE}
    return varint(found.number << 3 | (2 if by_length else 0))


def varint(number: int) -> bytes:
    """Return a number of 64 bits, a negative one as its complement. Raises ValueError for any other."""
    if 0 <= number < 128:
        return _LAST[number]
    if 0 <= number < 16384:
        return _MORE[number & 127] + _LAST[number >> 7]
    return _long(number)


def _long(number: int) -> bytes:
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"{number} has more than 64 bits")
    if number < 0:
        number += 1 << 64
    found = b""
    while number >= 128:
        found += _MORE[number & 127]
        number >>= 7
    return found + _LAST[number]


def filled(tagged: bytes, number: int) -> bytes:
    """Return a field with its number; nothing where that is 0, which need not be said."""
    return tagged + varint(number) if number else b""


def delimited(tagged: bytes, value: bytes) -> bytes:
    """Return a field that holds bytes or a message."""
    return b"%b%b%b" % (tagged, varint(len(value)), value)


def text(tagged: bytes, value: str) -> bytes:
    """Return a field that holds text. Raises UnicodeEncodeError for what is no text, such as half a pair."""
    return delimited(tagged, value.encode())


class Moments:
    """Writes times in ms. What is the same in all of sixteen seconds is worked out once for them."""

    __slots__ = ("_period", "_tail")

    def __init__(self) -> None:
        self._period = 0
        self._tail = b""

    def varint(self, ms: int) -> bytes:
        """Return what `varint` returns."""
        if not _MOMENTS_FROM <= ms < _MOMENTS_TO:
            return varint(ms)
        period = ms >> 14
        if period != self._period:
            self._period, self._tail = period, varint(period)
        return b"%b%b%b" % (_MORE[ms & 127], _MORE[ms >> 7 & 127], self._tail)
