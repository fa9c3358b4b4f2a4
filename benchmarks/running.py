"""Processes of a measurement: started on their core, waited for, put to sleep while others are measured, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
LOGS = HERE / "results"
READY_SECONDS = 120
GATEWAY_CORE = 0
OTHER_CORE = 1


def on_core(core: int) -> list[str]:
    """Return what a command begins with to stay on one core; nothing where there is no such core."""
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > core else []


def pin(pid: int, core: int) -> None:
    """Move a running process with all its threads to one core."""
    if (os.cpu_count() or 1) > core:
        subprocess.run(["taskset", "-a", "-p", "-c", str(core), str(pid)], check=True, capture_output=True)


def end_in_order() -> None:
    """Let SIGTERM unwind this process, so that nothing it has started stays behind, asleep."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = READY_SECONDS) -> None:
    """Wait until `url` answers below 500; raises when the process ends or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode} before it answered")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status < 500:
                    return
        except urllib.error.HTTPError as error:
            with error:
                if error.code < 500:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"no answer within {seconds:.0f} s")


@contextmanager
def started(
    command: list[str], env: dict[str, str] | None = None, log: str = "gateway"
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process group and end it."""
    LOGS.mkdir(exist_ok=True)
    with (LOGS / f"{log}.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=env, start_new_session=True)
    try:
        yield process
    finally:
        wake(process.pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(timeout=12)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def tree(root: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def sleep(root: int) -> None:
    """Stop a process tree until it is woken, so that it takes nothing from what is measured meanwhile."""
    _signal(root, signal.SIGSTOP)


def wake(root: int) -> None:
    """Let a process tree go on."""
    _signal(root, signal.SIGCONT)


def _signal(root: int, number: signal.Signals) -> None:
    for pid in tree(root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def resident_mb(root: int) -> float:
    """Return the resident memory of a process tree, MB."""
    return _memory_mb(root, "status", "VmRSS:")


def proportional_mb(root: int) -> float:
    """Return the memory of a process tree with each shared page divided among those who share it, MB."""
    return _memory_mb(root, "smaps_rollup", "Pss:")


def _memory_mb(root: int, file: str, field: str) -> float:
    kilobytes = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
            kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith(field))
    return kilobytes / 1024
