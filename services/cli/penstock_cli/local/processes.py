"""One process of a local gateway: what to run, and its life with restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_cli.data_dir import forget, write_private
from penstock_cli.local import tether
from penstock_cli.local.backoff import Backoff
from penstock_cli.local.voice import pump

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from penstock_cli.local.voice import Voice

LAST_WORDS_SECONDS = 0.5
HEARSAY_SECONDS = 0.05
KILL_SECONDS = 2.0
AS_TOLD = frozenset({0, -signal.SIGINT})
"""How those end that were told to: Ctrl-C kills one that has not come so far as to be deaf to it."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `stage` orders the end: lower ones end first; after `end_seconds` of ending it is killed."""

    name: str
    module: str
    environment: Mapping[str, str]
    stage: int
    end_seconds: float

    def command(self) -> list[str]:
        """Return the command that runs it, tied to this process."""
        tied = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
        return [*tied, sys.executable, "-m", self.module]


class Child:
    """A program that is kept running until it is told to end."""

    def __init__(
        self,
        program: Program,
        run_dir: Path,
        voice: Voice,
        *,
        started: Callable[[str], None] = lambda name: None,  # noqa: ARG005 -- a hook that does nothing
        ended: Callable[[str], None] = lambda name: None,  # noqa: ARG005 -- a hook that does nothing
    ) -> None:
        self.program = program
        self.backoff = Backoff()
        self._pid_file = run_dir / f"{program.name}.pid"
        self._ports_file = run_dir / f"{program.name}.json"
        self._voice = voice
        self._started = started
        self._ended = ended
        self._process: Process | None = None
        self._stopping = False
        self._may_end = False
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self.last_exit: int | None = None

    @property
    def pid(self) -> int | None:
        """Pid of the running process; None between two lives."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def start(self) -> None:
        """Keep it running from now on."""
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.program.name}")

    def let_end(self) -> None:
        """Note that the end of everything has begun: one that ends by itself now was told to, and stays ended."""
        self._may_end = True

    async def stop(self, seconds: float) -> bool:
        """Ask it to end and wait; False when it has not ended in time."""
        return await self._end(signal.SIGTERM, seconds)

    async def kill(self) -> None:
        """End it now."""
        await self._end(signal.SIGKILL, KILL_SECONDS)

    async def _end(self, number: signal.Signals, seconds: float) -> bool:
        self._stopping = True
        self._wake.set()
        self._signal(number)
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=seconds)
            if not done:
                return False
        forget(self._pid_file)
        forget(self._ports_file)
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            begun = loop.time()
            fate = await self._one_life()
            if self.last_exit in AS_TOLD:
                # A signal to the whole group reaches it before we have heard of ours.
                await asyncio.sleep(HEARSAY_SECONDS)
            if self._told_to_end():
                return
            delay = self.backoff.ended(loop.time() - begun)
            self._voice.say(f"{self.program.name} {fate}; it is restarted in {delay:.1f} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), delay)

    def _told_to_end(self) -> bool:
        return self._stopping or (self._may_end and self.last_exit in AS_TOLD)

    async def _one_life(self) -> str:
        """Run the program once; returns in words how that ended. The machine may have no room for it just now."""
        try:
            await self._live()
        except OSError as error:
            self.last_exit = None
            return f"could not be started ({error.strerror})"
        return f"ended ({exit_words(self.last_exit)})"

    def _write_pid(self, pid: int) -> None:
        """Write the pid down where that is possible; on a full disk the process is kept all the same."""
        try:
            write_private(self._pid_file, f"{pid}\n")
        except OSError as error:
            self._voice.say(f"{self._pid_file} cannot be written: {error.strerror}")

    async def _live(self) -> None:
        """Run the program once, from its start to its end."""
        self._ports_file.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *self.program.command(), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=dict(self.program.environment)
        )
        self._process = process
        self._write_pid(process.pid)
        self._started(self.program.name)
        if self._stopping:
            self._signal(signal.SIGTERM)
        said = asyncio.create_task(pump(_output(process), self._voice.pass_on), name=f"voice of {self.program.name}")
        self.last_exit = await process.wait()
        # Its last words are in the pipe; somebody else may hold the other end open.
        await asyncio.wait([said], timeout=LAST_WORDS_SECONDS)
        said.cancel()
        self._ended(self.program.name)


def _output(process: Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise RuntimeError("the process was started without a pipe")
    return process.stdout


def exit_words(code: int | None) -> str:
    """Return how a process ended, for people."""
    if code is None:
        return "unknown"
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
