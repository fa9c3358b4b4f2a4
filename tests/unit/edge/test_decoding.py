"""Content encodings that nobody asked for."""

from __future__ import annotations

import gzip
import zlib

import pytest

from penstock_edge.decoding import Decoder, UndecodableError, decoder_for


@pytest.mark.parametrize(
    ("name", "packed"), [(b"gzip", gzip.compress(b"hello", mtime=0)), (b"Deflate", zlib.compress(b"hello"))]
)
def test_byte_by_byte(name, packed):
    decoder = decoder_for(name)
    assert b"".join(decoder.feed(packed[i : i + 1]) for i in range(len(packed))) == b"hello"
    assert decoder.whole()


@pytest.mark.parametrize("name", [None, b"", b"identity", b"Identity"])
def test_nothing_to_do(name):
    assert decoder_for(name) is None


@pytest.mark.parametrize("name", [b"br", b"zstd", b"gzip, br"])
def test_unknown_encodings(name):
    with pytest.raises(UndecodableError):
        decoder_for(name)


def test_damaged_data():
    with pytest.raises(UndecodableError):
        Decoder(b"gzip").feed(b"not gzip at all")


def test_a_bomb():
    with pytest.raises(UndecodableError):
        Decoder(b"gzip", limit=1000).feed(gzip.compress(b"\0" * 1_000_000))
