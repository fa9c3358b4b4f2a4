"""What processes and stores cost: CPU by /proc, memory, Redis's own counters, PostgreSQL's statements."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers import RedisServer

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def tree_cpu_seconds(pid: int) -> float:
    """The same of a process, of its children and of children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    total = sum(int(each) for each in fields[11:15]) / _TICK
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            total += cpu_seconds(int(child))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) / 1024 for row in rows if row.startswith("VmRSS"))


def redis_info(server: RedisServer) -> dict[str, str]:
    """INFO of everything, command statistics among it."""
    import redis  # noqa: PLC0415 -- only runs with Redis need it

    client = redis.Redis(port=server.port)
    try:
        return {name: str(value) for name, value in client.info("everything").items()} | {
            name: f"{value['calls']} {value['usec']}" for name, value in client.info("commandstats").items()
        }
    finally:
        client.close()


def redis_commands(info: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """(calls, µs) by command; calls from within scripts are there too, and in their script's time."""
    found = {}
    for name, value in info.items():
        if name.startswith("cmdstat_"):
            calls, micros = value.split()
            found[name.removeprefix("cmdstat_")] = int(calls), int(micros)
    return found


@dataclass
class Postgres:
    """A server with pg_stat_statements."""

    pid: int
    url: str

    def query(self, text: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as link:
            return link.execute(text).fetchall()  # type: ignore[call-overload, no-any-return]  # texts of our own

    def statements(self) -> tuple[int, float]:
        """How many statements were run so far, and their execution time in seconds."""
        text = "SELECT coalesce(sum(calls),0), coalesce(sum(total_exec_time),0) FROM pg_stat_statements"
        calls, milliseconds = self.query(text)[0]
        return int(str(calls)), float(str(milliseconds)) / 1000

    def wal_bytes(self) -> int:
        return int(str(self.query("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")[0][0]))


@dataclass
class Sample:
    """All counters at one moment."""

    at: float
    cpu: dict[str, float]
    redis: dict[str, tuple[int, int]] = field(default_factory=dict)
    redis_bytes: tuple[int, int] = (0, 0)
    redis_memory: int = 0
    statements: tuple[int, float] = (0, 0.0)
    wal: int = 0


@dataclass
class Used:
    """What happened between two samples. CPU in seconds by process; Redis commands as (calls, µs)."""

    seconds: float
    cpu: dict[str, float]
    redis: dict[str, tuple[int, int]]
    redis_bytes: tuple[int, int]
    redis_memory: int
    statements: int
    wal: int

    def share(self, process: str) -> float:
        """CPU of a process in percent of one core."""
        return 100 * self.cpu.get(process, 0.0) / self.seconds

    def redis_calls(self) -> tuple[int, int]:
        """(calls by clients, calls in all): scripts' own commands are in the second figure only."""
        outer = sum(calls for name, (calls, _) in self.redis.items() if name in {"evalsha", "eval", "ping", "info"})
        return outer - self.redis.get("info", (0, 0))[0], sum(calls for calls, _ in self.redis.values())


class Meter:
    """Reads all counters of the processes and stores that it was given."""

    def __init__(self) -> None:
        self.pids: dict[str, int] = {}
        self.redis: RedisServer | None = None
        self.postgres: Postgres | None = None

    def sample(self) -> Sample:
        cpu = {name: cpu_seconds(pid) for name, pid in self.pids.items() if Path(f"/proc/{pid}").exists()}
        taken = Sample(time.monotonic(), cpu)
        if self.postgres is not None:
            cpu["postgres"] = tree_cpu_seconds(self.postgres.pid)
            taken.statements, taken.wal = self.postgres.statements(), self.postgres.wal_bytes()
        if self.redis is not None:
            info = redis_info(self.redis)
            taken.redis = redis_commands(info)
            taken.redis_bytes = int(info["total_net_input_bytes"]), int(info["total_net_output_bytes"])
            taken.redis_memory = int(info["used_memory"])
            cpu["redis"] = cpu_seconds(self.redis.process.pid)
        return taken

    def since(self, before: Sample) -> Used:
        now = self.sample()
        return Used(
            seconds=now.at - before.at,
            cpu={name: cpu - before.cpu.get(name, 0.0) for name, cpu in now.cpu.items()},
            redis={
                name: (calls - before.redis.get(name, (0, 0))[0], micros - before.redis.get(name, (0, 0))[1])
                for name, (calls, micros) in now.redis.items()
                if calls != before.redis.get(name, (0, 0))[0]
            },
            redis_bytes=(now.redis_bytes[0] - before.redis_bytes[0], now.redis_bytes[1] - before.redis_bytes[1]),
            redis_memory=now.redis_memory - before.redis_memory,
            statements=now.statements[0] - before.statements[0],
            wal=now.wal - before.wal,
        )
