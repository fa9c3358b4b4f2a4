"""A spool is looked at, as after a SIGKILL, before and after whatever it does to its files, also where the disk refuses."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from zlib import crc32

import pytest

from penstock_edge import journal as journals
from penstock_edge import segments
from penstock_edge.spool import SpoolFull
from tests.effort import examples
from tests.unit.edge.test_spool import closed, left_in, opened, start

OPEN, ENDING, UNWRITTEN, ENDED, SETTLING, SETTLED = range(6)


class Disk:
    """Lets a test look before and after each call that changes a file, and refuses some."""

    def __init__(self, monkeypatch, rng, look):
        self.rng = rng
        self.look = look
        self.refuses = 0.0
        self.refused = False
        self._whole = {name: getattr(os, name) for name in ("open", "pwrite", "ftruncate", "posix_fallocate")}
        self._unlink = Path.unlink
        for name in self._whole:
            monkeypatch.setattr(os, name, getattr(self, name))

        def unlink(path, **how):
            self.unlink(path, **how)

        monkeypatch.setattr(Path, "unlink", unlink)
        monkeypatch.setattr(journals, "put_frame", self.put_frame)
        monkeypatch.setattr(journals, "WINDOW_BYTES", 8192)
        monkeypatch.setattr(journals, "_STEP_BYTES", 4096)

    def _maybe_refuse(self):
        if self.rng.random() < self.refuses:
            self.refused = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open(self, path, *how):
        if str(path).endswith(".spool"):
            self._maybe_refuse()
        return self._whole["open"](path, *how)

    def pwrite(self, descriptor, data, at):
        self.look()
        self._maybe_refuse()
        if self.rng.random() < self.refuses:
            self.refused = True
            data = data[: self.rng.randrange(len(data))]
        written = self._whole["pwrite"](descriptor, data, at)
        self.look()
        return written

    def ftruncate(self, descriptor, size):
        self.look()
        self._whole["ftruncate"](descriptor, size)

    def posix_fallocate(self, descriptor, begin, length):
        self._maybe_refuse()
        self._whole["posix_fallocate"](descriptor, begin, length)
        self.look()

    def unlink(self, path, **how):
        self.look()
        self._maybe_refuse()
        self._unlink(path, **how)
        self.look()

    def put_frame(self, window, at, payload):
        """Copy as the real one does, in steps."""
        begin = at + segments.HEAD_BYTES
        for end in (self.rng.randrange(len(payload)), len(payload)):
            window[begin : begin + end] = payload[:end]
            self.look()
        head = segments.framed(payload)[: segments.HEAD_BYTES]
        assert head[6:] == crc32(payload).to_bytes(4, "little")
        window[at + 1 : begin] = head[1:]
        self.look()
        window[at] = head[0]
        self.look()


class Life:
    """One spool, and what of each request has been promised."""

    def __init__(self, root, monkeypatch, rng, refuses):
        self.rng = rng
        self.refuses = refuses
        self.states = {}
        self.opening = ""
        self.spool = start(
            root,
            segment_bytes=rng.choice([300, 1_000, 9_000]),
            mapped=rng.random() < 0.6,
            max_bytes=rng.choice([3_000, 20_000, 1 << 28]),
        )
        self.disk = Disk(monkeypatch, rng, self.look)

    def look(self):
        """See that what a next life would find is what was promised."""
        there, _ = left_in(self.spool.folder)
        for name, state in self.states.items():
            assert name in there or state >= SETTLING, "a request is lost"
            assert state != ENDED or there[name], "the end of a request is lost"
            assert state != SETTLED or name not in there, "a request that is settled is back"
        assert set(there) - set(self.states) <= {self.opening}

    def step(self):
        self.disk.refuses = 0.7 if self.rng.random() < self.refuses else 0.0
        self.disk.refused = False
        self.rng.choice([self.open, self.close, self.acknowledge])()
        self.look()
        assert self.spool.records == sum(state < SETTLING for state in self.states.values())
        assert self.spool.bytes == sum(journal.size for journal in self.spool._journals)

    def open(self):
        record = opened(len(self.states))
        self.opening = record.request_id
        try:
            self.spool.open(record)
        except SpoolFull:
            return
        self.states[self.opening] = OPEN

    def close(self):
        names = [name for name, state in self.states.items() if state == OPEN]
        if names:
            name = self.rng.choice(names)
            self.states[name] = ENDING
            self.spool.close(closed(int(name.removeprefix("req_"), 16)))
            self.states[name] = UNWRITTEN if self.disk.refused else ENDED

    def acknowledge(self):
        names = [name for name, state in self.states.items() if ENDING <= state <= ENDED]
        names = self.rng.sample(names, min(len(names), self.rng.randrange(1, 8)))
        self.states |= dict.fromkeys(names, SETTLING)
        self.spool.acknowledge(names)
        if not self.disk.refused:
            self.states |= dict.fromkeys(names, SETTLED)


@pytest.mark.parametrize("refuses", [0.0, 0.15])
@pytest.mark.parametrize("seed", range(examples(6)))
def test_whenever_it_is_killed_all_that_was_promised_is_there(tmp_path, monkeypatch, seed, refuses):
    life = Life(tmp_path, monkeypatch, random.Random(seed), refuses)
    for _ in range(60):
        life.step()
    monkeypatch.undo()
    life.spool.shut()
    left, _ = left_in(life.spool.folder)
    waiting = {name for name, state in life.states.items() if state < SETTLING}
    assert waiting <= left.keys()
    assert {name for name in waiting if left[name]} == {name for name in waiting if life.states[name] != OPEN}
