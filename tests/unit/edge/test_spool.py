from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock_edge.folder_lock import FolderLock
from penstock_edge.observer import Unobserved
from penstock_edge.records import AttemptRecord, Closed, Opened, Usage
from penstock_edge.replay import Legacy
from penstock_edge.segments import MAX_PAYLOAD, frame, read
from penstock_edge.segments_fields import Acknowledged, Header
from penstock_edge.spool import Spool, SpoolFull, SpoolLocked, segment_paths
from tests.effort import examples


def opened(i):
    return Opened(
        request_id=f"req_{i:032x}",
        key_id="k1",
        key_sha256=b"\xa5\x5a" * 16,
        project="acme",
        model="claude-x",
        dialect="anthropic",
        price_digest="0123456789abcdef",
        price_multiplier_ppm=1_000_000,
        admitted_at_ms=1_700_000_000_000 + i,
        started_at_ms=1_700_000_000_001 + i,
    )


def closed(i):
    return Closed(
        request_id=f"req_{i:032x}",
        state="complete",
        delivered=0,
        attempts=[AttemptRecord(index=0, account="a", usage=Usage(input_tokens=i, output_tokens=2), reported=True)],
        ended_at_ms=1_700_000_000_100 + i,
        client_status=200,
    )


def start(root, session="s1", **options):
    return Spool.start(Path(root), "edge-0", session, now_ms=1, observer=Unobserved(), **options)


def kill(spool):
    """What SIGKILL leaves: the files as they are, the lock free."""
    if spool._current._window is not None:
        spool._current._window.close()
    os.close(spool._current._descriptor)
    os.close(spool._lock._descriptor)


def left_in(folder):
    legacy = Legacy()
    for path in segment_paths(folder):
        reading = read(path.read_bytes())
        assert not reading.bad
        legacy.add(reading)
    return {i: o.closed is not None for i, o in legacy.requests.items()}, legacy


def test_open_close_acknowledge(tmp_path):
    spool = start(tmp_path)
    spool.open(opened(1))
    assert spool.get(opened(1).request_id) == opened(1)
    spool.close(closed(1))
    assert spool.get(opened(1).request_id) == closed(1)
    assert spool.opened(opened(1).request_id) == opened(1)
    assert spool.records == 1
    spool.acknowledge([opened(1).request_id, "unknown"])
    spool.acknowledge([])
    spool.close(closed(99))
    assert spool.records == 0
    assert spool.get(opened(1).request_id) is None
    assert spool.opened(opened(1).request_id) is None
    spool.shut(ended=True)
    assert not segment_paths(spool.folder)


def test_what_is_outstanding_survives_an_orderly_end(tmp_path):
    spool = start(tmp_path)
    spool.open(opened(1))
    spool.shut(ended=True)
    left, legacy = left_in(spool.folder)
    assert left == {opened(1).request_id: False}
    assert legacy.sessions == {"s1": "edge-0"}
    assert next(iter(legacy.requests.values())).session == "s1"
    again = start(tmp_path, "s2")
    assert len(again.inherited) == 1
    kill(again)


def test_a_session_that_auth_does_not_know_to_be_over_is_left_to_the_next_life(tmp_path):
    spool = start(tmp_path)
    spool.shut(ended=False)
    assert left_in(spool.folder)[1].sessions == {"s1": "edge-0"}


def test_files_are_private(tmp_path):
    spool = start(tmp_path)
    assert spool.folder.stat().st_mode & 0o777 == 0o700
    assert all(p.stat().st_mode & 0o077 == 0 for p in spool.folder.iterdir())
    spool.shut()


def test_one_living_process_per_folder(tmp_path):
    spool = start(tmp_path)
    with pytest.raises(SpoolLocked):
        start(tmp_path, "s2")
    kill(spool)
    start(tmp_path, "s2").shut()


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 200])
def test_names_that_are_no_folders(tmp_path, name):
    with pytest.raises(ValueError, match="folder"):
        Spool.start(tmp_path, name, "s", now_ms=1, observer=Unobserved())


def test_foreign_files_do_no_harm(tmp_path):
    spool = start(tmp_path)
    (spool.folder / "x.spool").write_bytes(b"?")
    kill(spool)
    again = start(tmp_path, "s2")
    assert [p.stem for p in again.inherited] == ["000000000001"]
    kill(again)


def test_too_many_requests(tmp_path):
    told = []

    class Watching(Unobserved):
        def spool_full(self):
            told.append(1)

    spool = Spool.start(tmp_path, "edge-0", "s", now_ms=1, observer=Watching(), max_records=3)
    for i in range(3):
        spool.open(opened(i))
    with pytest.raises(SpoolFull):
        spool.open(opened(3))
    spool.acknowledge([opened(0).request_id])
    spool.open(opened(3))
    assert told == [1]
    kill(spool)


def test_too_many_bytes_and_room_again(tmp_path):
    spool = start(tmp_path, segment_bytes=2_000, max_bytes=10_000)
    i = 0
    with pytest.raises(SpoolFull):
        for i in range(1000):
            spool.open(opened(i))
    written = sum(len(path.read_bytes()) for path in segment_paths(spool.folder)[:-1]) + spool._current.size
    assert spool.bytes == written, "what is reserved for more does not count"
    assert 10_000 <= spool.bytes < 13_000
    for n in range(i):
        spool.close(closed(n))
    # All but the very first are settled: it alone must not keep the spool full.
    spool.acknowledge([opened(n).request_id for n in range(1, i)])
    spool.open(opened(5000))
    assert left_in(spool.folder)[0] == {opened(0).request_id: True, opened(5000).request_id: False}
    assert spool.bytes < 5_000
    kill(spool)


def test_old_open_requests_do_not_pin_segments(tmp_path):
    spool = start(tmp_path, segment_bytes=4_000)
    spool.open(opened(0))
    for i in range(1, 2000):
        spool.open(opened(i))
        spool.close(closed(i))
        spool.acknowledge([opened(i).request_id])
    assert len(segment_paths(spool.folder)) <= 4
    assert left_in(spool.folder)[0] == {opened(0).request_id: False}
    kill(spool)


def test_requests_of_the_last_moments_are_not_copied(tmp_path):
    spool = start(tmp_path, segment_bytes=2_000)
    for i in range(30):
        spool.open(opened(i))
    spool.acknowledge([opened(i).request_id for i in range(30) if i % 10])
    assert 2 <= len(segment_paths(spool.folder)) <= 4
    records = [record for path in segment_paths(spool.folder) for record in read(path.read_bytes()).records]
    assert len(records) == 31
    assert set(left_in(spool.folder)[0]) == {opened(i).request_id for i in (0, 10, 20)}
    kill(spool)


def refuse(*_, **__):
    raise OSError(28, "no space")


def test_a_disk_that_refuses(tmp_path, monkeypatch):
    spool = start(tmp_path, mapped=False)
    spool.open(opened(1))
    size = segment_paths(spool.folder)[0].stat().st_size
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: whole(fd, data[: len(data) // 2], at))
    with pytest.raises(SpoolFull, match="disk"):
        spool.open(opened(2))
    spool.close(closed(1))
    spool.acknowledge([])
    monkeypatch.undo()
    assert segment_paths(spool.folder)[0].stat().st_size == size
    assert spool.get(opened(1).request_id) == closed(1)
    spool.open(opened(2))
    assert left_in(spool.folder)[0] == {opened(1).request_id: True, opened(2).request_id: False}
    kill(spool)


@pytest.mark.parametrize("then", ["open", "acknowledge", "shut"])
def test_an_end_that_the_disk_had_no_room_for_is_written_when_it_has_some(tmp_path, monkeypatch, then):
    spool = start(tmp_path, mapped=False)
    for i in range(3):
        spool.open(opened(i))
    monkeypatch.setattr(os, "pwrite", refuse)
    for i in range(3):
        spool.close(closed(i))
    spool.acknowledge([opened(0).request_id])
    assert not any(left_in(spool.folder)[0].values())
    monkeypatch.undo()
    if then == "open":
        spool.open(opened(5))
    elif then == "acknowledge":
        spool.acknowledge([opened(1).request_id])
    else:
        spool.shut()
    left = left_in(spool.folder)[0]
    assert left[opened(2).request_id] is True
    assert spool._unwritten == []
    if then != "shut":
        assert spool.bytes == segment_paths(spool.folder)[0].stat().st_size
        kill(spool)


def test_a_disk_that_has_no_more_for_a_map(tmp_path, monkeypatch):
    spool = start(tmp_path, mapped=True)
    for name in ("posix_fallocate", "pwrite"):
        monkeypatch.setattr(os, name, refuse)
    taken = []
    with pytest.raises(SpoolFull, match="disk"):
        for i in range(100_000):
            spool.open(opened(i))
            taken.append(opened(i).request_id)
    monkeypatch.undo()
    spool.open(opened(100_000))
    assert list(left_in(spool.folder)[0]) == [*taken, opened(100_000).request_id]
    kill(spool)


def test_a_segment_that_cannot_be_made(tmp_path, monkeypatch):
    spool = start(tmp_path, segment_bytes=500)
    monkeypatch.setattr(os, "open", refuse)
    spool.open(opened(1))
    spool.open(opened(2))
    monkeypatch.undo()
    spool.open(opened(3))
    assert len(left_in(spool.folder)[0]) == 3
    kill(spool)


def test_a_segment_that_cannot_be_made_is_not_tried_with_each_record(tmp_path, monkeypatch):
    spool = start(tmp_path, segment_bytes=8_000)
    tried = []

    def refuse_and_note(*_):
        tried.append(1)
        refuse()

    monkeypatch.setattr(os, "open", refuse_and_note)
    while spool.bytes < 16_000:
        spool.open(opened(spool.records))
    assert 7 <= len(tried) <= 9
    monkeypatch.undo()
    while len(segment_paths(spool.folder)) < 3:
        spool.open(opened(spool.records))
    assert spool._current.size < 8_000
    assert spool.bytes < 27_000
    assert len(left_in(spool.folder)[0]) == spool.records
    kill(spool)


def test_a_segment_whose_header_cannot_be_written_is_none(tmp_path, monkeypatch):
    spool = start(tmp_path, mapped=False, segment_bytes=250)
    spool.open(opened(1))
    whole, calls = os.pwrite, []

    def every_second(*arguments):
        calls.append(1)
        return whole(*arguments) if len(calls) % 2 else refuse()

    monkeypatch.setattr(os, "pwrite", every_second)
    spool.open(opened(2))
    spool.open(opened(3))
    monkeypatch.undo()
    assert len(segment_paths(spool.folder)) == 1
    spool.open(opened(4))
    assert len(segment_paths(spool.folder)) == 2
    assert len(left_in(spool.folder)[0]) == 4
    kill(spool)


def test_a_segment_that_cannot_be_removed_stays_and_keeps_what_comes_after_it(tmp_path, monkeypatch):
    spool = start(tmp_path, segment_bytes=1_000)
    for i in range(20):
        spool.open(opened(i))
        spool.close(closed(i))
    monkeypatch.setattr(Path, "unlink", refuse)
    spool.acknowledge([opened(i).request_id for i in range(20)])
    for i in range(20, 60):
        spool.open(opened(i))
        spool.close(closed(i))
        spool.acknowledge([opened(i).request_id])
    assert spool.records == 0
    assert spool.bytes == sum(path.stat().st_size for path in segment_paths(spool.folder)[:-1]) + spool._current.size
    assert left_in(spool.folder)[0] == {}
    monkeypatch.undo()
    spool.acknowledge([])
    spool.open(opened(60))
    spool.acknowledge([opened(60).request_id])
    assert segment_paths(spool.folder) == [spool._current.path]
    kill(spool)


@pytest.mark.parametrize("stays", [1, 2])
def test_an_end_at_which_a_segment_cannot_be_removed(tmp_path, monkeypatch, stays):
    spool = start(tmp_path, segment_bytes=300)
    for i in range(3):
        spool.open(opened(i))
    monkeypatch.setattr(Path, "unlink", refuse)
    spool.acknowledge([opened(i).request_id for i in range(3)])
    monkeypatch.undo()
    whole, paths = Path.unlink, segment_paths(spool.folder)
    assert len(paths) >= 3
    monkeypatch.setattr(Path, "unlink", lambda path, **how: refuse() if path == paths[stays] else whole(path, **how))
    spool.shut(ended=True)
    assert segment_paths(spool.folder) == paths[stays:], "none goes before what it ends"
    assert left_in(spool.folder)[0] == {}
    start(tmp_path, "s2").shut()


def test_a_full_spool_whose_segments_cannot_be_removed(tmp_path, monkeypatch):
    spool = start(tmp_path, segment_bytes=1_000, max_bytes=5_000)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(SpoolFull):
        for i in range(100):
            spool.open(opened(i))
            spool.acknowledge([opened(i).request_id])
    monkeypatch.undo()
    spool.open(opened(200))
    assert left_in(spool.folder)[0] == {opened(200).request_id: False}
    kill(spool)


def test_a_file_whose_end_is_an_error_is_ended(tmp_path, monkeypatch):
    """So it may be on NFS, which tells of a write with the last close."""
    spool = start(tmp_path, segment_bytes=300)
    whole = os.close

    def close(descriptor):
        whole(descriptor)
        refuse()

    monkeypatch.setattr(os, "close", close)
    for i in range(5):
        spool.open(opened(i))
    monkeypatch.undo()
    spool.open(opened(5))
    assert len(segment_paths(spool.folder)) > 1
    assert len(left_in(spool.folder)[0]) == 6
    kill(spool)


@pytest.mark.parametrize("usage", [Usage(1 << 64), Usage(-(1 << 63) - 1)])
def test_an_end_that_no_record_can_hold(tmp_path, usage):
    spool = start(tmp_path)
    spool.open(opened(1))
    end = closed(1)
    end.attempts[0].usage = usage
    spool.close(end)
    assert spool.get(opened(1).request_id) == opened(1)
    assert left_in(spool.folder)[0] == {opened(1).request_id: False}
    spool.acknowledge([opened(1).request_id])
    assert spool.records == 0
    kill(spool)


def test_a_damaged_segment_that_was_set_aside_is_never_replaced(tmp_path):
    (tmp_path / "edge-0").mkdir()
    (tmp_path / "edge-0" / "000000000007.bad").write_bytes(b"somebody's money")
    spool = start(tmp_path)
    assert spool._current.path.stem == "000000000008"
    assert spool.inherited == []
    kill(spool)


def test_opening_is_cheap(tmp_path):
    spool = start(tmp_path)
    rows = [opened(i) for i in range(3000)]
    best = 1.0
    for part in range(3):
        begin = time.perf_counter()
        for row in rows[part * 1000 : part * 1000 + 1000]:
            spool.open(row)
        best = min(best, (time.perf_counter() - begin) / 1000)
    print(f"{best * 1e6:.1f} µs")
    assert best < 100e-6
    kill(spool)


OPS = st.lists(st.tuples(st.sampled_from(["open", "close", "ack", "kill"]), st.integers(0, 12)), max_size=60)


@settings(deadline=None, max_examples=examples(30), suppress_health_check=[HealthCheck.too_slow])
@given(ops=OPS, segment_bytes=st.sampled_from([300, 1_000, 1 << 20]), mapped=st.booleans())
def test_a_crash_anywhere_leaves_exactly_the_outstanding(ops, segment_bytes, mapped):
    with tempfile.TemporaryDirectory() as root:
        spool = start(root, segment_bytes=segment_bytes, mapped=mapped)
        model, life = {}, 1
        for op, i in ops:
            name = opened(i).request_id
            if op == "open" and name not in model:
                spool.open(opened(i))
                model[name] = False
            elif op == "close" and name in model:
                spool.close(closed(i))
                model[name] = True
            elif op == "ack":
                spool.acknowledge([name])
                model.pop(name, None)
            elif op == "kill":
                kill(spool)
                assert left_in(spool.folder)[0] == model
                # As after a replay: what was inherited has been settled.
                for path in segment_paths(spool.folder):
                    path.unlink()
                model, life = {}, life + 1
                spool = start(root, f"s{life}", segment_bytes=segment_bytes, mapped=mapped)
            assert spool.records == len(model)
        kill(spool)
        left, legacy = left_in(spool.folder)
        assert left == model
        assert {o.session for o in legacy.requests.values()} <= {f"s{life}"}
        for name, request in legacy.requests.items():
            i = int(name.removeprefix("req_"), 16)
            assert request.opened == opened(i)
            assert request.closed in (None, closed(i))


@settings(deadline=None, max_examples=examples(20))
@given(ops=OPS, cut=st.floats(0, 1))
def test_a_segment_cut_at_any_byte_reads_as_far_as_it_goes(ops, cut):
    with tempfile.TemporaryDirectory() as root:
        spool = start(root)
        (path,) = segment_paths(spool.folder)
        model, states = {}, [(0, {}), (spool.bytes, {})]
        for op, i in ops:
            name = opened(i).request_id
            if op == "open" and name not in model:
                spool.open(opened(i))
                model[name] = False
            elif op == "close" and name in model:
                spool.close(closed(i))
                model[name] = True
            elif op == "ack":
                spool.acknowledge([name])
                model.pop(name, None)
            states.append((spool.bytes, dict(model)))
        kill(spool)
        data = path.read_bytes()[: spool.bytes]
        at = round(cut * len(data))
        reading = read(data[:at])
        assert not reading.bad
        legacy = Legacy()
        legacy.add(reading)
        expected = [state for size, state in states if size <= at][-1]
        assert {i: o.closed is not None for i, o in legacy.requests.items()} == expected
        assert reading.torn == at - max(size for size, _ in states if size <= at)
        shutil.rmtree(root, ignore_errors=True)
        Path(root).mkdir(exist_ok=True)


@settings(deadline=None, max_examples=examples(30))
@given(where=st.floats(0, 1), noise=st.binary(min_size=1, max_size=40), n=st.integers(2, 12))
def test_damage_in_the_middle_costs_no_more_than_the_damaged_records(where, noise, n):
    header = frame(Header(format=1, session="s", edge="e", created_ms=1))
    frames = [frame(opened(i)) for i in range(n)]
    data = bytearray(header + b"".join(frames))
    begin = len(header) + round(where * (len(data) - len(header) - 1))
    end = min(len(data), begin + len(noise))
    before = bytes(data)
    data[begin:end] = noise[: end - begin]
    reading = read(bytes(data))
    at, untouched = len(header), set()
    for i, piece in enumerate(frames):
        if at + len(piece) <= begin or at >= end or bytes(data[at : at + len(piece)]) == before[at : at + len(piece)]:
            untouched.add(opened(i).request_id)
        at += len(piece)
    assert {r.request_id for r in reading.records} == untouched
    assert reading.header is not None


def test_nonsense_is_bad_and_a_cut_is_torn():
    whole = frame(opened(1))
    assert read(b"").records == []
    assert read(b"hello, world").bad == b"hello, world"
    assert read(whole[:-1]).torn == len(whole) - 1
    assert read(whole[:5]).torn == 5
    assert read(whole + b"\xa5").torn == 1
    wrong = bytearray(whole)
    wrong[-1] ^= 1
    assert read(bytes(wrong)).bad == bytes(wrong)
    huge = whole[:2] + (MAX_PAYLOAD + 1).to_bytes(4, "little") + whole[6:]
    assert read(huge).bad == huge
    strange = frame(Acknowledged(["a"])).replace(b"A", b"?", 1)
    assert read(strange).bad == strange


def test_a_request_that_was_copied_forward_keeps_its_end():
    legacy = Legacy()
    # Killed after the first of the two records that a copy is made of.
    legacy.add(read(frame(opened(1)) + frame(closed(1)) + frame(opened(1))))
    assert legacy.requests[opened(1).request_id].closed == closed(1)


def test_a_record_of_another_shape_is_bad():
    import struct
    from zlib import crc32

    payload = b"O\x80"
    data = struct.pack("<2sII", b"\xa5\x5a", len(payload), crc32(payload)) + payload
    assert read(data).bad == data


def test_a_lock_of_a_folder_that_is_gone(tmp_path):
    assert FolderLock.take(tmp_path / "nowhere") is None
    folder = tmp_path / "edge-9"
    folder.mkdir()
    lock = FolderLock.take(folder)
    assert FolderLock.take(folder) is None
    lock.release(remove=True)
    assert not folder.exists()
    folder.mkdir()
    (folder / "000000000001.bad").write_bytes(b"x")
    FolderLock.take(folder).release(remove=True)
    assert (folder / "000000000001.bad").exists()


def test_a_folder_that_cannot_be_removed_is_given_up_all_the_same(tmp_path, monkeypatch):
    folder = tmp_path / "edge-9"
    folder.mkdir()
    lock = FolderLock.take(folder)
    monkeypatch.setattr(Path, "rmdir", refuse)
    lock.release(remove=True)
    lock = FolderLock.take(folder)
    assert lock is not None
    monkeypatch.undo()
    lock.release(remove=True)
    assert not folder.exists()
