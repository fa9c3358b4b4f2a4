"""The checksum of the POSIX command `cksum`, which any shell can make again."""

from __future__ import annotations

_POLYNOMIAL = 0x04C11DB7
_MASK = 0xFFFFFFFF


def _row(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1) ^ (_POLYNOMIAL if value & 0x80000000 else 0)
    return value & _MASK


_TABLE = [_row(byte) for byte in range(256)]


def cksum(data: bytes) -> str:
    """Return what `cksum` prints for these bytes on its standard input."""
    value = 0
    size = len(data)
    for byte in data + size.to_bytes((size.bit_length() + 7) // 8, "little"):
        value = (value << 8 & _MASK) ^ _TABLE[value >> 24 ^ byte]
    return f"{value ^ _MASK} {size}"
