"""An image is one that others can read."""

import base64
import struct
import zlib

import pytest

from penstock_simulator import drawing


def chunks(image):
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    place, found = 8, []
    while place < len(image):
        (size,) = struct.unpack_from(">I", image, place)
        kind, data = image[place + 4 : place + 8], image[place + 8 : place + 8 + size]
        assert struct.unpack_from(">I", image, place + 8 + size) == (zlib.crc32(kind + data),)
        found.append((kind, data))
        place += 12 + size
    return found


@pytest.mark.parametrize("size", [0, 80, 100, 5_000])
def test_it_is_a_png_of_one_pixel(size):
    image, least = drawing.png(7, size), len(drawing.png(7))
    found = chunks(image)
    assert [kind for kind, _ in found if kind != b"tEXt"] == [b"IHDR", b"IDAT", b"IEND"]
    assert zlib.decompress(dict(found)[b"IDAT"]) == b"\0\0\0\x07"
    # A comment takes twenty bytes with nothing in it.
    assert len(image) == (size if size > least + 20 else least)


def test_the_seed_gives_the_colour():
    assert drawing.png(1) == drawing.png(1) != drawing.png(2)
    assert base64.b64decode(drawing.as_base64(2**64 - 1)) == drawing.png(2**64 - 1)
