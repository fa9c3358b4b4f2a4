"""A recording of nothing much, for answers that are to be heard. Pure."""

from __future__ import annotations

import base64
import struct

FORMATS = ("wav", "pcm16")
_RATE = 24_000
_SAMPLES_PER_CHAR = 60


def _pcm(text: str) -> bytes:
    """Return one low step for each character, so that another text sounds otherwise."""
    return b"".join(struct.pack("<h", ord(letter) % 512 - 256) * _SAMPLES_PER_CHAR for letter in text)


def recording(text: str, form: str) -> str:
    """Return a text as base64 audio, mono, 24 kHz, 16 bit."""
    data = _pcm(text)
    if form == "wav":
        head = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, _RATE, 2 * _RATE, 2, 16)
        data = (
            b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + head + b"data" + struct.pack("<I", len(data)) + data
        )
    return base64.b64encode(data).decode()
