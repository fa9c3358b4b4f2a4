"""Starts the real processes and stores of one run, and ends them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psycopg
from measures import Meter, Postgres, cpu_seconds
from world import Size, write_catalogs

from tests.postgres import _as_postgres, _programs
from tests.servers import free_port, redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stack:
    """Redis, PostgreSQL, one auth, one router, and the meter that reads them."""

    def __init__(self, folder: Path, size: Size, postgres: Postgres, redis_url: str, meter: Meter) -> None:
        self.folder = folder
        self.size = size
        self.postgres = postgres
        self.redis_url = redis_url
        self.meter = meter
        self.addresses = {kind: f"127.0.0.1:{free_port()}" for kind in ("auth", "router")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.probes: dict[str, int] = {}
        write_catalogs(folder, size)

    def start(self, kind: str, **settings: str) -> dict[str, float]:
        """Start auth or router and wait until it is ready; returns the seconds and the CPU that took."""
        self.probes[kind] = free_port()
        told = {
            "ADDRESS": self.addresses[kind],
            "METRICS_PORT": str(self.probes[kind]),
            "CATALOG_PATH": str(self.folder / f"{kind}.json"),
            "INSECURE_PLAINTEXT": "true",
            "LOG_LEVEL": "warning",
            "REDIS_URL": self.redis_url,
            # A busy machine is no failing store.
            "REDIS_DEADLINE_SECONDS": "2",
            "MAX_CONNECTION_AGE_SECONDS": "100000",
        }
        if kind == "auth":
            told |= {"DATABASE_URL": self.postgres.url, "DATABASE_DEADLINE_SECONDS": "30"}
        told |= settings
        prefix = f"PENSTOCK_{kind.upper()}_"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        began = time.monotonic()
        with (self.folder / f"{kind}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"penstock_{kind}.main"],
                env=kept | {prefix + name: value for name, value in told.items() if value},
                stderr=log,
            )
        self.processes[kind] = process
        self.meter.pids[kind] = process.pid
        until = time.monotonic() + 120
        while not self._ready(kind):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{kind} did not start: {self.log(kind)[-2000:]}")
            time.sleep(0.02)
        return {"seconds": time.monotonic() - began, "cpu_seconds": cpu_seconds(process.pid)}

    def stop(self, kind: str) -> None:
        """End one in order."""
        process = self.processes.pop(kind)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        self.meter.pids.pop(kind, None)

    def log(self, kind: str) -> str:
        """What it has said."""
        return (self.folder / f"{kind}.log").read_text()

    def end(self) -> None:
        """Kill what runs."""
        for process in self.processes.values():
            process.kill()
            process.wait()

    def _ready(self, kind: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.probes[kind]}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class Fleet:
    """A process that plays edge sessions (`fleet.py`), told what to do line by line."""

    def __init__(self, stack: Stack, number: int, sessions: int, first: int) -> None:
        self.name = f"fleet-{number}"
        self.sessions = sessions
        with (stack.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).parent / "fleet.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        stack.meter.pids[self.name] = self.process.pid
        self.say(do="begin", sessions=sessions, first=first, projects=stack.size.projects, **stack.addresses)

    def say(self, **words: Any) -> None:
        """Send a command; `hear` gives its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Return the answer to the oldest unanswered command."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has ended")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise RuntimeError(f"{self.name}: {answer['failed']}")
        return answer

    def end(self) -> None:
        """Let the sessions end cleanly."""
        try:
            self.say(do="end")
            self.process.wait(30)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()


class Fleets:
    """Several of them as one."""

    def __init__(self, stack: Stack, edges: int, processes: int = 2) -> None:
        self._stack = stack
        self.edges = edges
        self.fleets: list[Fleet] = []
        for number in range(min(processes, edges)):
            sessions = edges // processes + (1 if number < edges % processes else 0)
            self.fleets.append(Fleet(stack, number, sessions, sum(f.sessions for f in self.fleets)))
        self._hear()

    def ask(self, **words: Any) -> dict[str, float]:
        """Tell all the same, and add up their answers."""
        for fleet in self.fleets:
            fleet.say(**words)
        return self._hear()

    def _hear(self) -> dict[str, float]:
        total: dict[str, float] = {}
        for fleet in self.fleets:
            for name, value in fleet.hear().items():
                total[name] = total.get(name, 0) + value
        return total

    def end(self) -> None:
        """End all."""
        for fleet in self.fleets:
            fleet.end()
            self._stack.meter.pids.pop(fleet.name, None)


@contextmanager
def stores(folder: Path) -> Iterator[tuple[Postgres, str, Meter]]:
    """Start PostgreSQL and Redis of our own."""
    meter = Meter()
    with redis_server() as redis, _postgres(folder) as postgres:
        meter.redis, meter.postgres = redis, postgres
        yield postgres, redis.url, meter


@contextmanager
def _postgres(folder: Path) -> Iterator[Postgres]:
    """Start PostgreSQL as it comes (what is committed is on the disk), with statement statistics."""
    programs, as_user, port = _programs(), _as_postgres(), free_port()
    with TemporaryDirectory(prefix="penstock-scale-pg-") as place:
        data = Path(place) / "data"
        if as_user:
            Path(place).chmod(0o777)
        make = [programs / "initdb", "-D", data, "-U", "penstock", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run([*as_user, *make], capture_output=True, check=True, cwd=place)
        options = [
            f"port={port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "shared_buffers=256MB",
            "shared_preload_libraries=pg_stat_statements",
        ]
        serve = [programs / "postgres", "-D", data, *(word for option in options for word in ("-c", option))]
        with (folder / "postgres.log").open("wb") as log:
            process = subprocess.Popen([*as_user, *serve], stdout=log, stderr=log, cwd=place)
        try:
            url = f"postgresql://penstock@127.0.0.1:{port}/postgres"
            until = time.monotonic() + 30
            while True:
                try:
                    psycopg.connect(url, connect_timeout=2).close()
                    break
                except psycopg.OperationalError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)
            yield Postgres(process.pid, url)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)
