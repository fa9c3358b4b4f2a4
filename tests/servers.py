"""Servers that tests start for themselves, on free loopback ports in temporary folders, and end afterwards."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class RedisServer:
    """A running redis-server of our own."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self, *words: str) -> bytes:
        """Send one command over a connection of its own and return the raw start of the reply."""
        request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
            link.sendall(request)
            return link.recv(65536)


@contextmanager
def redis_server(*options: str, port: int | None = None) -> Iterator[RedisServer]:
    """Start a redis-server that keeps nothing on disk. One that is not installed is an error."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed (Debian: apt-get install redis-server)")
    chosen = port or free_port()
    with tempfile.TemporaryDirectory(prefix="penstock-redis-") as folder:
        arguments = ["--port", str(chosen), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen([program, *arguments, *options], stdout=output, stderr=output)
        server = RedisServer(chosen, process)
        try:
            _await_answer(server, log)
            yield server
        finally:
            process.kill()  # A stopped (frozen) server ends too.
            process.wait(10)


def _await_answer(server: RedisServer, log: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            # With a password it says NOAUTH, which is an answer too.
            if server.command("PING").startswith((b"+PONG", b"-NOAUTH")):
                return
        except OSError:
            pass
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"redis-server did not start: {log.read_text()[-2000:]}")
        time.sleep(0.02)
