"""What earlier edges wrote is read, and what this one writes stays as it is."""

from __future__ import annotations

import base64
import zlib

import msgspec
import pytest

from penstock_edge.records import AttemptRecord, Closed, Opened, Usage
from penstock_edge.segments import payload_of, read, record_of
from penstock_edge.segments_fields import Acknowledged, Header
from tests.unit.edge.test_spool import closed, kill, left_in, opened, start

# By an edge of format 1, before records went through a map: three requests opened, two closed, one acknowledged,
# and a fourth whose record was cut off.
EARLIER = zlib.decompress(
    base64.b85decode(
        "c-qyJPiqu07>6@kPlEUrig*xVVgGbjJy|V?2cg*GUP4UX-A#8giOD-sZz^p)6bi*pVCn46Zo91(4?R~=4`R=rJbCx*$;?);+EN^-"
        "hfN@aHwpZn2i_!&A|d30z4GJkVz;TSVi@!sI45<q?#de=TF}jwVrjrFFa$xB3zEikK*-X~^JI2)VBuj54yhDhF8e(#oj%Il4m|dk"
        "*E{7wwsUP(sny?2CXLf)&saSV95)zOkSHx6OnJy+0mX%$kSz3PeHLNcY9slUv62H7vgM<_DwQkMsapNo^&9K~7tnljc&g$Mr3oci"
        "YK;0!F5aHrW<p8KFd2H%144q8gKzC%=#bfC<wEMvTTvkPU$=EAsEkaE6m<t8M|MXg9pjPO_Nb;Lx0=RIkY6TOcINY&tc;_{!pSBl"
        "&d6l=et9mx$?7<ooH*I!xic{N!G8)*>fi6pJkQ<Ti4TR4a;;1V2z~!ns_fs`?|VD)5m*o;WgbTvbZd)=j07x@9^+ic5x!(e>{tt)"
        "Z5@pr4F5=6NG%whp}*Y(|NJilFy!7}gfxp1yH6hvfi7LW^EE$E<-Y(Gasf4u1Jyjx?%s=~TTeHC1G%+-L>jfq-u>!K{#Kb9n^yS="
        "hncZC"
    )
)
RECORDS = [
    *(opened(1), opened(2), opened(3), closed(1), closed(2)),
    Acknowledged([opened(2).request_id]),
]


# Fields in this order, for ever; new ones come after them.
OPENED = (
    "request_id key_id key_sha256 project model dialect price_digest price_multiplier_ppm admitted_at_ms "
    "started_at_ms streamed hold_input_tokens hold_output_tokens hold_micro_usd"
)
CLOSED = "request_id state estimated delivered attempts ended_at_ms client_status"
ATTEMPT = (
    "index account cls status usage reported estimated upstream_request_id started_at_ms first_byte_ms duration_ms "
    "upstream_model"
)
TOKENS = "input_tokens output_tokens cache_read_input_tokens cache_write_5m_input_tokens cache_write_1h_input_tokens"


def plain(value):
    """Return a record as values, whichever class it is of."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    return [plain(each) for each in value] if isinstance(value, list) else value


def test_an_earlier_segment_is_read():
    reading = read(EARLIER)
    assert reading.header == Header(format=1, session="s1", edge="edge-0", created_ms=1)
    assert plain(reading.records) == plain(RECORDS)
    assert [type(record).__base__ for record in reading.records] == [Opened] * 3 + [Closed] * 2 + [msgspec.Struct]
    assert isinstance(reading.records[3].attempts[0], AttemptRecord)
    assert reading.bad == b""
    assert reading.torn > 100


def test_what_an_earlier_edge_left_is_inherited(tmp_path):
    (tmp_path / "edge-0").mkdir()
    (tmp_path / "edge-0" / "000000000007.spool").write_bytes(EARLIER)
    spool = start(tmp_path, "s2")
    assert [path.stem for path in spool.inherited] == ["000000000007"]
    left, legacy = left_in(spool.folder)
    assert left == {opened(1).request_id: True, opened(3).request_id: False}
    assert legacy.sessions == {"s1": "edge-0", "s2": "edge-0"}
    kill(spool)


@pytest.mark.parametrize(
    ("kind", "names"), [(Opened, OPENED), (Closed, CLOSED), (AttemptRecord, ATTEMPT), (Usage, TOKENS)]
)
def test_fields_keep_their_places(kind, names):
    first = names.split()
    assert list(kind.__struct_fields__)[: len(first)] == first
    assert all(field.required is False for field in msgspec.structs.fields(kind)[len(first) :])


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back(record):
    assert record_of(payload_of(record)) == record


def test_a_record_with_fields_that_only_a_later_edge_knows():
    payload = payload_of(opened(1))
    row = msgspec.msgpack.decode(payload[1:])
    assert record_of(payload[:1] + msgspec.msgpack.encode([*row, "new"])) == opened(1)
    assert record_of(payload[:1] + msgspec.msgpack.encode(row[:10])) == opened(1)
    assert record_of(payload[:1] + msgspec.msgpack.encode(row[:9])) is None
