"""How the spool's records lie in a file: framed, checksummed, readable after a crash at any byte. Pure.

A segment is a row of frames: two mark bytes, length and CRC-32 of the payload (little endian), the payload. A payload
is one letter and a msgpack value. The first frame is the header (`H`); then come opened (`O`), closed (`C`) and
acknowledged (`A`) requests. After bytes that make no frame, reading goes on at the next mark that does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

import msgspec

from penstock_edge.records import Closed, Opened

FORMAT: Final = 1
MAX_PAYLOAD: Final = 1 << 20

_MARK: Final = b"\xa5\x5a"
_HEAD: Final = struct.Struct("<2sII")
_encoder = msgspec.msgpack.Encoder()


class Header(msgspec.Struct):
    """Whose records follow: the edge session that wrote them, and the stable name of its edge."""

    format: int
    session: str
    edge: str
    created_ms: int


class Acknowledged(msgspec.Struct):
    """Requests whose settlements are final; nothing of them is needed any more."""

    request_ids: list[str]


Record = Header | Opened | Closed | Acknowledged

_LETTERS: Final[dict[type, bytes]] = {Header: b"H", Opened: b"O", Closed: b"C", Acknowledged: b"A"}
_decoders: Final[dict[int, msgspec.msgpack.Decoder[Record]]] = {
    letter[0]: msgspec.msgpack.Decoder(kind) for kind, letter in _LETTERS.items()
}


def frame(record: Record) -> bytes:
    """Return the bytes that stand for `record` in a segment."""
    payload = _LETTERS[type(record)] + _encoder.encode(record)
    return _HEAD.pack(_MARK, len(payload), crc32(payload)) + payload


def framed(data: bytes) -> Record:
    """Return the record that one whole frame stands for. Raises ValueError when it is none."""
    record, _ = _record_at(data, 0)
    if record is None:
        raise ValueError("this is no frame")
    return record


@dataclass(slots=True)
class Reading:
    """What a segment's bytes say. `bad` holds the bytes that make no sense; a torn tail is only counted."""

    header: Header | None = None
    records: list[Opened | Closed | Acknowledged] = field(default_factory=list)
    bad: bytes = b""
    torn: int = 0


def read(data: bytes) -> Reading:
    """Read all that can be read. A last frame that was cut off is `torn`, other nonsense is `bad`."""
    reading = Reading()
    bad = bytearray()
    at = 0
    while at < len(data):
        record, end = _record_at(data, at)
        if record is None:
            following = _next_frame(data, at + 1)
            if following < 0 and _cut_off(data, at):
                reading.torn = len(data) - at
                break
            end = len(data) if following < 0 else following
            bad += data[at:end]
        elif isinstance(record, Header):
            reading.header = record
        else:
            reading.records.append(record)
        at = end
    reading.bad = bytes(bad)
    return reading


def _record_at(data: bytes, at: int) -> tuple[Record | None, int]:
    """Return the record whose frame begins at `at` and where it ends; (None, at) when there is none."""
    if len(data) - at < _HEAD.size:
        return None, at
    mark, length, checksum = _HEAD.unpack_from(data, at)
    end = at + _HEAD.size + length
    if mark != _MARK or not 0 < length <= MAX_PAYLOAD or end > len(data):
        return None, at
    payload = data[at + _HEAD.size : end]
    decoder = _decoders.get(payload[0])
    if crc32(payload) != checksum or decoder is None:
        return None, at
    try:
        return decoder.decode(payload[1:]), end
    except msgspec.MsgspecError:
        return None, at


def _next_frame(data: bytes, at: int) -> int:
    while (at := data.find(_MARK, at)) >= 0:
        if _record_at(data, at)[0] is not None:
            return at
        at += 1
    return -1


def _cut_off(data: bytes, at: int) -> bool:
    """Say whether the bytes from `at` on are the beginning of one frame that goes on beyond the end."""
    rest = len(data) - at
    if rest < _HEAD.size:
        return data[at : at + 2] == _MARK[:rest]
    mark, length, _ = _HEAD.unpack_from(data, at)
    return bool(mark == _MARK and length <= MAX_PAYLOAD and rest < _HEAD.size + length)
