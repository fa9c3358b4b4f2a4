"""Children and their supervisor, with tiny real processes."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock_cli.local import processes, tether
from penstock_cli.local.processes import Child, Program, exit_words
from penstock_cli.local.supervisor import Supervisor
from penstock_cli.local.voice import Voice

STEADY = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("bye", sys.argv, flush=True), sys.exit(0)))
print("hello", flush=True)
time.sleep(60)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
CRASHING = "import sys; print('oh no', file=sys.stderr); sys.exit(3)"


class Heard(io.BytesIO):
    """A stream whose content outlives it."""


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def voice(heard):
    voice = Voice(heard)
    yield voice
    voice.close()


@pytest.fixture
def make(tmp_path, voice, monkeypatch):
    (tmp_path / "run").mkdir()
    modules = tmp_path / "modules"
    modules.mkdir()

    def make(name, code, stage=0, end_seconds=5.0, **hooks):
        (modules / f"{name.replace('-', '_')}.py").write_text(code)
        environment = {"PYTHONPATH": str(modules), "PATH": os.environ["PATH"]}
        program = Program(name, name.replace("-", "_"), environment, stage, end_seconds)
        return Child(program, tmp_path / "run", voice, **hooks)

    return make


async def until(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_killed_process_comes_back_and_it_is_said(make, heard, tmp_path):
    lives = []
    child = make("edge-0", STEADY, started=lives.append, ended=lambda name: lives.append(f"{name} ended"))
    child.start()
    await until(lambda: b"hello" in heard.getvalue())
    first = int((tmp_path / "run" / "edge-0.pid").read_text())
    assert first == child.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: heard.getvalue().count(b"hello") == 2)
    second = int((tmp_path / "run" / "edge-0.pid").read_text())
    assert second != first
    assert b"penstock: edge-0 ended (SIGKILL); it is restarted in 0.2 s\n" in heard.getvalue()
    assert await child.stop(5.0)
    await until(lambda: b"bye" in heard.getvalue())
    assert not alive(second)
    assert child.pid is None
    assert not (tmp_path / "run" / "edge-0.pid").exists()
    assert lives == ["edge-0", "edge-0 ended", "edge-0", "edge-0 ended"]


async def test_a_process_that_cannot_start_is_tried_ever_more_slowly(make, heard):
    child = make("auth-0", CRASHING)
    child.start()
    await until(lambda: child.backoff.in_a_row == 3)
    assert child.last_exit == 3
    begun = time.monotonic()
    assert await child.stop(5.0), "a stop does not wait for the back-off"
    assert time.monotonic() - begun < 4.5
    await until(lambda: heard.getvalue().count(b"oh no\n") == 3)
    assert b"auth-0 ended (exit code 3); it is restarted in 0.8 s" in heard.getvalue()


async def test_a_pid_that_cannot_be_written_down_is_told_and_the_process_is_kept(make, heard, tmp_path):
    child = make("edge-0", STEADY)
    (tmp_path / "run" / "edge-0.pid").mkdir()  # as on a full disk
    child.start()
    await until(lambda: b"hello" in heard.getvalue())
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: heard.getvalue().count(b"hello") == 2)
    assert await child.stop(5)
    assert b"bye" in heard.getvalue()
    assert b"edge-0.pid cannot be written: Is a directory" in heard.getvalue()


async def test_a_process_for_which_there_is_no_room_is_started_later(make, heard, monkeypatch):
    child = make("edge-0", STEADY)
    with monkeypatch.context() as patched:
        patched.setattr(processes.sys, "executable", "/nowhere/python")
        child.start()
        await until(lambda: b"edge-0 could not be started (No such file or directory)" in heard.getvalue())
    await until(lambda: b"hello" in heard.getvalue())
    assert await child.stop(5)


async def test_ctrl_c_before_a_process_is_deaf_to_it_is_no_crash(make, heard):
    code = "import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGINT)"
    child = make("edge-0", code)
    child.let_end()
    child.start()
    await until(child._task.done)
    assert child.last_exit == -signal.SIGINT
    assert b"restarted" not in heard.getvalue()


async def test_the_end_has_an_order(make):
    order = []
    children = [
        make(name, STEADY, stage, ended=order.append) for name, stage in (("auth-0", 2), ("edge-0", 0), ("status-0", 1))
    ]
    supervisor = Supervisor(children, time.monotonic, order.append)
    supervisor.start()
    await until(lambda: all(child.pid for child in children))
    assert await supervisor.stop(9.0)
    assert order == [False, "edge-0", False, "status-0", True, "auth-0"]


async def test_who_does_not_end_is_killed_in_time(make, heard):
    deaf = [make(f"edge-{n}", DEAF, end_seconds=0.3) for n in range(2)]
    last = make("auth-0", STEADY, stage=1)
    supervisor = Supervisor([*deaf, last], time.monotonic)
    supervisor.start()
    await until(lambda: heard.getvalue().count(b"deaf") == 2 and b"hello" in heard.getvalue())
    pids = [child.pid for child in deaf]
    begun = time.monotonic()
    assert not await supervisor.stop(5.0)
    assert time.monotonic() - begun < 4.5
    assert not any(map(alive, pids))
    assert last.last_exit == 0


async def test_kill_is_now(make, heard):
    deaf = make("edge-0", DEAF)
    supervisor = Supervisor([deaf], time.monotonic)
    supervisor.start()
    await until(lambda: b"deaf" in heard.getvalue())
    await supervisor.kill()
    assert deaf.last_exit == -signal.SIGKILL
    assert await make("never", STEADY).stop(0.1), "what never started has ended"


PARENT = """
import asyncio, sys, time
from pathlib import Path
from penstock_cli.local.processes import Child, Program
from penstock_cli.local.voice import Voice
async def main():
    run = Path(sys.argv[1])
    child = Child(Program("edge-0", "deaf", {"PYTHONPATH": sys.argv[2]}, 0, 1.0), run, Voice())
    child.start()
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_children_die_with_a_killed_parent(tmp_path):
    (tmp_path / "deaf.py").write_text(DEAF)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), str(tmp_path), stderr=asyncio.subprocess.PIPE
    )
    assert await parent.stderr.readline() == b"deaf\n"
    pid = int((tmp_path / "edge-0.pid").read_text())
    assert os.getpgid(pid) == os.getpgid(parent.pid), "they stay in one process group"
    os.kill(pid, signal.SIGINT)
    await asyncio.sleep(0.1)
    assert alive(pid), "the terminal's Ctrl-C is not for them"
    parent.kill()
    await parent.wait()
    await until(lambda: not alive(pid), 2.0)


def test_a_tie_holds_only_to_the_living(tmp_path):
    code = (
        "import os, signal; from penstock_cli.local import tether; ok = tether.tie(os.getppid()), tether.tie(1 << 22)"
    )
    code += "; print(*ok, signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["True", "False", "True"]


def test_a_tether_to_a_dead_parent_does_not_hold(monkeypatch):
    monkeypatch.setattr(tether, "tie", lambda parent: parent == 7)
    ran = []
    monkeypatch.setattr(tether.os, "execv", lambda path, arguments: ran.append((path, arguments)))
    assert tether.main(["8", "/bin/true"]) == tether.PARENT_GONE
    assert ran == []
    tether.main(["7", "/bin/true", "x"])
    assert ran == [("/bin/true", ["/bin/true", "x"])]


@pytest.mark.parametrize(
    ("code", "words"), [(None, "unknown"), (0, "exit code 0"), (-9, "SIGKILL"), (-99, "signal 99")]
)
def test_exit_words(code, words):
    assert exit_words(code) == words


async def test_last_words_are_heard_though_somebody_holds_the_pipe(make, heard, monkeypatch):
    monkeypatch.setattr(processes, "LAST_WORDS_SECONDS", 0.1)
    code = "import subprocess, sys; subprocess.Popen(['sleep', '1']); print('last', flush=True); sys.exit(4)"
    child = make("auth-0", code)
    child.start()
    await until(lambda: child.last_exit == 4)
    await until(lambda: b"last\n" in heard.getvalue())
    await child.stop(3.0)
