"""Draws an image: one pixel, a PNG of any size that is asked for. The same seed gives the same image. Pure."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Final

MEDIA_TYPE: Final = "image/png"
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_ONE_PIXEL_OF_RGB: Final = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)


def png(seed: int, size: int = 0) -> bytes:
    """Return the image; `size` in bytes, where that is more than it takes."""
    colour = seed.to_bytes(16, "big")[-3:]
    drawn = _chunk(b"IDAT", zlib.compress(b"\0" + colour))
    least = _SIGNATURE + _chunk(b"IHDR", _ONE_PIXEL_OF_RGB) + drawn + _chunk(b"IEND", b"")
    room = size - len(least) - len(_chunk(b"tEXt", b"Comment\0"))
    if room <= 0:
        return least
    comment = _chunk(b"tEXt", b"Comment\0" + b"." * room)
    return _SIGNATURE + _chunk(b"IHDR", _ONE_PIXEL_OF_RGB) + comment + drawn + _chunk(b"IEND", b"")


def as_base64(seed: int, size: int = 0) -> str:
    """Return the image as base64."""
    return base64.b64encode(png(seed, size)).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
