"""What earlier releases wrote is read."""

from __future__ import annotations

import base64
import zlib

from penstock_edge.segments import frame, read
from penstock_edge.segments_fields import Acknowledged, Header
from tests.unit.edge.test_spool import closed, kill, left_in, opened, start

# By an edge of November 2026, before records went through a map: three requests opened, two closed, one acknowledged,
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


def test_an_earlier_segment_is_read():
    reading = read(EARLIER)
    assert reading.header == Header(format=1, session="s1", edge="edge-0", created_ms=1)
    assert reading.records == RECORDS
    assert reading.bad == b""
    assert reading.torn == len(frame(opened(4))) - 100


def test_frames_are_what_they_were():
    assert b"".join(frame(record) for record in RECORDS) in EARLIER


def test_what_an_earlier_release_left_is_inherited(tmp_path):
    (tmp_path / "edge-0").mkdir()
    (tmp_path / "edge-0" / "000000000007.spool").write_bytes(EARLIER)
    spool = start(tmp_path, "s2")
    assert [path.stem for path in spool.inherited] == ["000000000007"]
    left, legacy = left_in(spool.folder)
    assert left == {opened(1).request_id: True, opened(3).request_id: False}
    assert legacy.sessions == {"s1": "edge-0", "s2": "edge-0"}
    kill(spool)
