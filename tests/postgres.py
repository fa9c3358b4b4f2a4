"""A PostgreSQL of our own for tests: initdb in a temporary folder, a free loopback port, ended afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from tests.ports import free_port

# Nothing here outlives a test, so nothing needs to survive a power cut.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60", "shared_buffers=16MB")


@dataclass(frozen=True)
class PostgresServer:
    """A running server. `url` is of its empty maintenance database; make others with `database()`."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, name: str) -> str:
        return f"postgresql://penstock@127.0.0.1:{self.port}/{name}"

    def database(self, template: str = "template1", name: str | None = None) -> str:
        """Make a database, empty or like `template`, and return its URL."""
        name = name or f"d{uuid.uuid4().hex}"
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self.url_of(name)

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as link:
            link.execute(statement)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all of its processes, as a machine that hangs does, and let them go on afterwards."""
        try:
            self._signal(signal.SIGSTOP)
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, sign: signal.Signals) -> None:
        for pid in self._pids():
            # One whose client has left may end meanwhile.
            with suppress(ProcessLookupError):
                os.kill(pid, sign)

    def _pids(self) -> list[int]:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server. One that is not installed is an error."""
    programs = _programs()
    as_user = _as_postgres()
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
    try:
        if as_user:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        log = folder / "log"
        make = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "penstock",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        made = subprocess.run([*as_user, *make], capture_output=True, check=False, cwd=folder)
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr.decode()[-2000:]}")
        options = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", *_FAST]
        serve = [programs / "postgres", "-D", data, *(word for option in options for word in ("-c", option))]
        with log.open("wb") as output:
            process = subprocess.Popen([*as_user, *serve], stdout=output, stderr=output, cwd=folder)
        try:
            server = PostgresServer(port, process)
            _await_answer(server, log)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(90)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise RuntimeError("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return Path(on_path).parent


def _as_postgres() -> list[str]:
    """PostgreSQL refuses to be root, so its own user runs it then; setpriv execs, so the process is the server."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]


def _await_answer(server: PostgresServer, log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            psycopg.connect(server.url, connect_timeout=10).close()
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return
