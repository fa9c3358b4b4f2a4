from __future__ import annotations

import errno
import mmap
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_edge import journal as journals
from penstock_edge.journal import WINDOW_BYTES, Journal
from penstock_edge.segments import HEAD_BYTES, framed, payload_of, put_frame, read
from tests.effort import examples
from tests.unit.edge.test_spool import closed, opened

ROWS = [payload_of(opened(i)) for i in range(4500)]


@pytest.fixture(params=[True, False], ids=["mapped", "written"])
def journal(tmp_path, request):
    made = Journal(tmp_path / "a.spool", mapped=request.param)
    yield made
    made.end()


def held(journal):
    reading = read(journal.path.read_bytes())
    assert (reading.bad, reading.torn) == (b"", 0)
    return [payload_of(record) for record in reading.records]


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


def test_what_was_appended_is_in_the_file_at_once(journal):
    for count, row in enumerate(ROWS[:50], 1):
        assert journal.append(row) == len(row) + HEAD_BYTES
        assert held(journal) == ROWS[:count]
    assert journal.size == sum(len(framed(row)) for row in ROWS[:50])


def test_many_windows_and_the_true_size_at_the_end(tmp_path):
    journal = Journal(tmp_path / "a", mapped=True)
    for row in ROWS:
        journal.append(row)
    assert journal.size > 2 * WINDOW_BYTES
    assert journal.size < journal.path.stat().st_size <= journal.size + WINDOW_BYTES
    assert held(journal) == ROWS
    journal.end()
    assert journal.path.stat().st_size == journal.size
    assert held(journal) == ROWS


@pytest.mark.parametrize("before", [0, 1, 700])
def test_a_record_that_is_longer_than_a_window(journal, before):
    long = b"O" + b"x" * (WINDOW_BYTES + 12_345)
    for row in (*ROWS[:before], long, *ROWS[:3]):
        journal.append(row)
    data = journal.path.read_bytes()[: journal.size]
    assert data == b"".join(framed(row) for row in (*ROWS[:before], long, *ROWS[:3]))


def test_the_file_is_private_and_stays_with_this_process(journal):
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert not os.get_inheritable(journal._descriptor)


def test_a_full_disk_is_told_and_leaves_whole_records(journal, monkeypatch):
    journal.append(ROWS[0])
    whole = os.pwrite
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.ENOSPC))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: whole(fd, data[: len(data) // 2], at))
    taken = [ROWS[0]]
    with pytest.raises(OSError, match="space"):
        for row in ROWS[1:]:
            journal.append(row)
            taken.append(row)
    assert journal.path.stat().st_size == journal.size
    assert held(journal) == taken
    monkeypatch.undo()
    journal.append(ROWS[0])
    assert held(journal) == [*taken, ROWS[0]]


def test_a_disk_that_turns_read_only_is_told_with_the_next_window_at_the_latest(journal, monkeypatch):
    journal.append(ROWS[0])
    for name in ("posix_fallocate", "pwrite", "ftruncate"):
        monkeypatch.setattr(os, name, refusing(errno.EROFS))
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        for row in ROWS:
            journal.append(row)
    assert journal.size <= WINDOW_BYTES
    assert len(held(journal)) >= 1


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSPC])
def test_where_nothing_can_be_reserved_records_are_written(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "posix_fallocate", refusing(number))
    journal = Journal(tmp_path / "a", mapped=True)
    journal.append(ROWS[0])
    assert journal.path.stat().st_size == journal.size
    assert held(journal) == ROWS[:1]
    journal.end()


def test_where_nothing_can_be_mapped_records_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(mmap, "mmap", refusing(errno.ENODEV))
    journal = Journal(tmp_path / "a", mapped=True)
    journal.append(ROWS[0])
    assert journal.path.stat().st_size == journal.size
    assert held(journal) == ROWS[:1]
    journal.end()


def test_a_file_system_that_only_pretends_to_reserve(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: None)
    journal = Journal(tmp_path / "a", mapped=True)
    journal.append(ROWS[0])
    assert journal.path.stat().st_size == journal.size
    assert held(journal) == ROWS[:1]
    journal.end()


def test_a_kernel_that_cannot_fetch_pages_ahead(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "_MADV_POPULATE_WRITE", 9999)
    journal = Journal(tmp_path / "a", mapped=True)
    for row in ROWS:
        journal.append(row)
    assert journal._window is not None
    assert held(journal) == ROWS
    journal.end()


def test_a_page_that_cannot_be_had_is_an_error_and_no_signal(tmp_path, monkeypatch):
    asked = []

    class Failing(mmap.mmap):
        def madvise(self, option, *where):
            asked.append(where)
            if len(asked) > 4:
                raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
            super().madvise(option, *where)

    monkeypatch.setattr(mmap, "mmap", Failing)
    journal = Journal(tmp_path / "a", mapped=True)
    for row in ROWS:
        journal.append(row)
    assert len(asked) == 5
    assert journal.path.stat().st_size == journal.size
    assert held(journal) == ROWS
    journal.end()


@settings(deadline=None, max_examples=examples(60))
@given(copied=st.sets(st.integers(1, 400)), n=st.integers(0, 3), left=st.integers(0, 5000))
def test_a_frame_of_which_any_bytes_but_the_first_were_copied_is_torn(copied, n, left):
    before, frame = b"".join(framed(row) for row in ROWS[:n]), framed(ROWS[n])
    half = bytes(byte if at in copied else 0 for at, byte in enumerate(frame))
    reading = read(before + half + bytes(left))
    assert reading.bad == b""
    assert reading.torn == len(half.rstrip(b"\0"))
    assert [payload_of(record) for record in reading.records] == ROWS[:n]


@settings(deadline=None, max_examples=examples(30))
@given(left=st.integers(1, 100_000))
def test_zeros_at_the_end_are_the_end(left):
    reading = read(framed(ROWS[0]) + bytes(left))
    assert (reading.bad, reading.torn, len(reading.records)) == (b"", 0, 1)


def test_zeros_in_the_middle_are_damage():
    reading = read(framed(ROWS[0]) + bytes(500) + framed(ROWS[1]) + bytes(70))
    assert (reading.bad, reading.torn, len(reading.records)) == (bytes(500), 0, 2)


def test_a_damaged_last_frame_before_zeros_is_bad():
    frame = bytearray(framed(ROWS[0]))
    frame[50] ^= 1
    assert read(bytes(frame) + bytes(100)).bad.startswith(frame)


def test_a_frame_in_a_map_is_the_frame_in_a_write():
    window = mmap.mmap(-1, 4096)
    put_frame(window, 7, payload_of(closed(1)))
    whole = framed(payload_of(closed(1)))
    assert window[7 : 7 + len(whole)] == whole
    assert window[:7] + window[7 + len(whole) :] == bytes(4096 - len(whole))


def test_a_frame_is_none_before_the_last_store():
    seen = []

    class Watched(mmap.mmap):
        def __setitem__(self, where, value):
            seen.append(read(self[:]))
            super().__setitem__(where, value)

    window = Watched(-1, 4096)
    put_frame(window, 0, ROWS[0])
    assert len(seen) > 1
    assert all(not reading.records and not reading.bad for reading in seen)
    assert len(read(window[:]).records) == 1


def run(program, *arguments):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


LIMITED = """
import resource, sys
from pathlib import Path
from penstock_edge.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
journal = Journal(Path(sys.argv[1]), mapped=True)
taken = 0
try:
    while True:
        journal.append(b"O" + bytes(299))
        taken += 1
except OSError as error:
    print(taken, error.errno)
"""


def test_a_disk_that_really_has_no_more_is_an_error_and_no_signal(tmp_path):
    done = run(LIMITED, tmp_path / "a")
    assert done.returncode == 0, done.stderr
    taken, number = map(int, done.stdout.split())
    # The first window was reserved; the second one was not, so the rest was written up to the last record that fits.
    assert taken == 300_000 // (300 + HEAD_BYTES)
    assert number in {errno.EFBIG, errno.ENOSPC}
    assert (tmp_path / "a").stat().st_size == taken * (300 + HEAD_BYTES)


FORKING = """
import os, sys
from pathlib import Path
from penstock_edge.journal import Journal
journal = Journal(Path(sys.argv[1]), mapped=True)
journal.append(b"O" + bytes(299))
child = os.fork()
if not child:
    journal.append(b"O" + bytes(299))
    os._exit(0)
print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_cannot_write_into_the_map(tmp_path):
    done = run(FORKING, tmp_path / "a")
    assert done.stdout.split() == [str(int(signal.SIGSEGV))], done.stderr
    assert (tmp_path / "a").read_bytes().rstrip(b"\0") == framed(b"O" + bytes(299)).rstrip(b"\0")
