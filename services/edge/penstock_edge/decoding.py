"""Undoes an upstream's content encoding, should it compress in spite of being asked not to."""

from __future__ import annotations

import zlib


class UndecodableError(Exception):
    """The encoding is not known here, or the data is damaged, or it blows up beyond all bounds."""


class Decoder:
    """Decodes gzip or deflate incrementally, at most `limit` bytes in all."""

    def __init__(self, encoding: bytes, limit: int = 64 * 1024 * 1024) -> None:
        if encoding.lower() not in {b"gzip", b"x-gzip", b"deflate"}:
            raise UndecodableError("the upstream used an encoding that was not asked for")
        # 32 + 15: zlib finds out by itself whether it is gzip or zlib.
        self._zlib = zlib.decompressobj(32 + zlib.MAX_WBITS)
        self._left = limit

    def feed(self, data: bytes) -> bytes:
        """Return what `data` decodes to. Raises UndecodableError."""
        try:
            out = self._zlib.decompress(data, self._left + 1)
        except zlib.error:
            raise UndecodableError("the upstream's compressed body is damaged") from None
        self._left -= len(out)
        if self._left < 0:
            raise UndecodableError("the upstream's compressed body is too large")
        return out

    def whole(self) -> bool:
        """Whether the compressed data came to its end."""
        return self._zlib.eof


def decoder_for(encoding: bytes | None) -> Decoder | None:
    """Return the decoder that a body needs; None when it is not encoded. Raises UndecodableError."""
    if encoding is None or encoding.lower() in {b"", b"identity"}:
        return None
    return Decoder(encoding)
