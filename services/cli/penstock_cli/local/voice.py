"""What the supervisor and its processes say, on stderr, without ever waiting for the reader."""

from __future__ import annotations

import queue
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

QUEUE_LINES = 10_000
LINE_BYTES = 64 * 1024
_CLOSE_SECONDS = 1.0


class Voice:
    """A bounded queue before a stream; a thread writes. When nobody reads, lines are dropped and counted."""

    def __init__(self, stream: BinaryIO | None = None, lines: int = QUEUE_LINES) -> None:
        self._stream = stream or sys.stderr.buffer
        self._lines: queue.Queue[bytes | None] = queue.Queue(lines)
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name="voice", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Say one thing to the person who started us."""
        self.pass_on(f"penstock: {text}\n".encode(errors="backslashreplace"))

    def pass_on(self, line: bytes) -> None:
        """Write a whole line of a process as it is."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what is queued, but do not wait long for a reader."""
        try:
            self._lines.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            return
        self._thread.join(_CLOSE_SECONDS)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            if self.dropped:
                line += b"penstock: %d lines were dropped because nobody read them\n" % self.dropped
                self.dropped = 0
            try:
                self._stream.write(line)
                self._stream.flush()
            except (OSError, ValueError):
                # The reader has gone; the gateway goes on.
                continue


async def pump(stream: asyncio.StreamReader, write: Callable[[bytes], None]) -> None:
    """Pass a process's output on, line by line, until it ends; an endless line goes in pieces."""
    rest = b""
    while chunk := await stream.read(LINE_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            write(line + b"\n")
        if len(rest) >= LINE_BYTES:
            write(rest + b"\n")
            rest = b""
    if rest:
        write(rest + b"\n")
