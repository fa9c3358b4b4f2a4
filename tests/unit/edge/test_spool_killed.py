"""A process that writes to its spool is killed at any moment: what `open` had returned for is there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.effort import examples

# One process forks those that are killed, so that many die in little time. What they have done stands in a shared map.
PROGRAM = """
import json, mmap, os, random, signal, struct, sys, time
from pathlib import Path

from penstock_edge.observer import Unobserved
from penstock_edge.records import Closed, Opened
from penstock_edge.replay import Legacy
from penstock_edge.segments import read
from penstock_edge.spool import Spool, segment_paths

root, mapped, rounds = Path(sys.argv[1]), sys.argv[2] == "mapped", int(sys.argv[3])
done = mmap.mmap(-1, 32)
COUNTS = struct.Struct("<QQQ")


def name(i):
    return f"req_{i:032x}"


def serve(folder, segment_bytes):
    spool = Spool.start(
        folder, "edge-0", "s1", now_ms=1, observer=Unobserved(), mapped=mapped, segment_bytes=segment_bytes
    )
    opened = closed = settled = 0
    while True:
        spool.open(Opened(name(opened), "k", bytes(32), "p", "m" * (opened % 300), "anthropic", "d", 1, 1, 1))
        opened += 1
        done[0:8] = opened.to_bytes(8, "little")
        if opened - closed > 20:
            spool.close(Closed(name(closed), "complete", client_status=200))
            closed += 1
            done[8:16] = closed.to_bytes(8, "little")
        if closed - settled > 50 and opened % 3 == 0:
            # Every hundredth is never settled, so that some are copied forward.
            last = settled + 40
            done[16:24] = last.to_bytes(8, "little")
            spool.acknowledge([name(i) for i in range(settled, last) if i % 100])
            settled = last


def killed_while_serving(folder, segment_bytes):
    done[:] = bytes(32)
    child = os.fork()
    if not child:
        try:
            serve(folder, segment_bytes)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    enough = random.choice([1, 30, 300, 3000])
    end = time.monotonic() + 60
    while COUNTS.unpack_from(done)[0] < enough and time.monotonic() < end:
        time.sleep(0.0005)
    time.sleep(random.random() / 300)
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, "it ended by itself"


def check(folder):
    opened, closed, settled = COUNTS.unpack_from(done)
    legacy, torn = Legacy(), 0
    for path in segment_paths(folder / "edge-0"):
        reading = read(path.read_bytes())
        assert not reading.bad, (path, len(reading.bad))
        torn += reading.torn > 0
        legacy.add(reading)
    there = legacy.requests
    for i in range(opened):
        request = there.get(name(i))
        # A batch that was being acknowledged may be settled already.
        assert request is not None or (i < settled and i % 100), (i, opened, closed, settled)
        if request is not None:
            assert len(request.opened.model) == i % 300
            assert i >= closed or request.closed is not None, (i, closed)
    assert not [i for i in range(max(settled - 40, 0)) if i % 100 and name(i) in there], "acknowledged, and there"
    assert len(there) <= opened + 1
    return opened, torn


opened = torn = 0
for number in range(rounds):
    folder = root / str(number)
    killed_while_serving(folder, random.choice([3_000, 50_000, 600_000]))
    more, was_torn = check(folder)
    opened, torn = opened + more, torn + was_torn
print(json.dumps({"opened": opened, "torn": torn}))
"""


@pytest.mark.parametrize("how", ["mapped", "written"])
def test_every_record_whose_open_had_returned_is_there(tmp_path, how):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), how, str(examples(25))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["opened"] > 0
