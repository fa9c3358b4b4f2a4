"""How the spool's records lie in a file: framed, checksummed, readable after a crash at any byte. Pure.

A segment is a row of frames: two mark bytes, length and CRC-32 of the payload (little endian), the payload. A payload
is one letter and a msgpack value. The first frame is the header (`H`); then come opened (`o`), closed (`c`) and
acknowledged (`A`) requests. Format 1 had the first two with the names of their fields (`O`, `C`). After bytes that make
no frame, reading goes on at the next mark that does.

A segment whose writer was killed may go on with zeros, which were reserved for more frames. A frame that was just
being copied there begins with a zero too, because its first byte comes last.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from mmap import mmap
from typing import Final
from zlib import crc32

import msgspec

from penstock_edge.earlier_records import NamedClosed, NamedOpened
from penstock_edge.records import Closed, Opened
from penstock_edge.segments_fields import Acknowledged, Header

FORMAT: Final = 2
READABLE: Final = frozenset({1, FORMAT})
HEAD_BYTES: Final = 10
MAX_PAYLOAD: Final = 1 << 20

_MARK: Final = b"\xa5\x5a"
_FIRST: Final = 0xA5
_SECOND: Final = 0x5A
_head: Final = struct.Struct("<2sII")
_pack_after_first: Final = struct.Struct("<BII").pack_into
_encode: Final = msgspec.msgpack.Encoder().encode

Record = Header | Opened | Closed | Acknowledged

_LETTERS: Final[dict[type, bytes]] = {Header: b"H", Opened: b"o", Closed: b"c", Acknowledged: b"A"}
_decoders: Final[dict[int, msgspec.msgpack.Decoder[Record]]] = {
    letter[0]: msgspec.msgpack.Decoder(kind)
    for kind, letter in (*_LETTERS.items(), (NamedOpened, b"O"), (NamedClosed, b"C"))
}


def payload_of(record: Record) -> bytes:
    """Return what stands for `record` in its frame."""
    return _LETTERS[type(record)] + _encode(record)


def record_of(payload: bytes) -> Record | None:
    """Return the record that a payload stands for, None when it is none."""
    decoder = _decoders.get(payload[0])
    try:
        return None if decoder is None else decoder.decode(payload[1:])
    except msgspec.MsgspecError:
        return None


def framed(payload: bytes) -> bytes:
    """Return the whole frame of a payload."""
    return _head.pack(_MARK, len(payload), crc32(payload)) + payload


def frame(record: Record) -> bytes:
    """Return the bytes that stand for `record` in a segment."""
    return framed(payload_of(record))


def put_frame(window: mmap, at: int, payload: bytes) -> None:
    """Copy a payload's frame to where zeros are. Whoever dies meanwhile has left nothing: the first byte comes last."""
    begin, length = at + HEAD_BYTES, len(payload)
    window[begin : begin + length] = payload
    _pack_after_first(window, at + 1, _SECOND, length, crc32(payload))
    window[at] = _FIRST


@dataclass(slots=True)
class Reading:
    """What a segment's bytes say. `bad` holds the bytes that make no sense; a torn tail is only counted."""

    header: Header | None = None
    records: list[Opened | Closed | Acknowledged] = field(default_factory=list)
    bad: bytes = b""
    torn: int = 0


def read(data: bytes) -> Reading:
    """Read all that can be read. A last frame that was not written to its end is `torn`, other nonsense is `bad`."""
    reading = Reading()
    bad = bytearray()
    at = 0
    while at < len(data):
        record, end = _record_at(data, at)
        if record is None:
            following = _next_frame(data, at + 1)
            if following < 0 and (torn := _torn(data, at)) >= 0:
                reading.torn = torn
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
    if len(data) - at < HEAD_BYTES:
        return None, at
    mark, length, checksum = _head.unpack_from(data, at)
    end = at + HEAD_BYTES + length
    if mark != _MARK or not 0 < length <= MAX_PAYLOAD or end > len(data):
        return None, at
    payload = data[at + HEAD_BYTES : end]
    record = record_of(payload) if crc32(payload) == checksum else None
    return record, at if record is None else end


def _next_frame(data: bytes, at: int) -> int:
    while (at := data.find(_MARK, at)) >= 0:
        if _record_at(data, at)[0] is not None:
            return at
        at += 1
    return -1


def _torn(data: bytes, at: int) -> int:
    """Return how many bytes from `at` on are of one frame that was not written to its end; -1 when they are not."""
    rest = len(data) - at
    if data[at] == 0:
        return len(data[at:].rstrip(b"\0"))
    if rest < HEAD_BYTES:
        return rest if data[at : at + 2] == _MARK[:rest] else -1
    mark, length, _ = _head.unpack_from(data, at)
    return rest if mark == _MARK and length <= MAX_PAYLOAD and rest < HEAD_BYTES + length else -1
