"""Servers that tests start for themselves, on free loopback ports in temporary folders, and end afterwards."""

from __future__ import annotations

import itertools
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_port


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


@dataclass
class RedisCluster:
    """A running cluster of our own: primaries with the slots in equal parts, then replicas, one each at most."""

    nodes: list[RedisServer]
    primaries: int
    buses: list[int]
    ids: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The addresses of all primaries. Any of them would do; tests that empty a store want all."""
        return "redis://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[: self.primaries])

    def slot(self, key: str) -> int:
        return int(self.nodes[0].command("CLUSTER", "KEYSLOT", key).strip(b":\r\n"))

    def owner(self, key: str) -> int:
        """The place of the primary that had this key's slot at the start."""
        slot = self.slot(key)
        return next(place for place, (first, last) in enumerate(self._ranges()) if first <= slot <= last)

    def flush(self) -> None:
        for node in self.nodes[: self.primaries]:
            assert node.command("FLUSHALL").startswith(b"+OK")

    def await_copy(self, place: int) -> None:
        """Wait until the replica of this primary has all that was written."""

        def copied() -> bool:
            told = dict(re.findall(rb"(\w+):([^\r]*)", self.nodes[place].command("INFO", "replication")))
            return b"offset=%s," % told[b"master_repl_offset"] in told[b"slave0"]

        _await("the replica has it all", copied)

    def knows(self, *words: bytes) -> bool:
        """Whether every node's CLUSTER INFO has all of these lines."""
        return all(
            all(word in answer for word in words) for answer in (node.command("CLUSTER", "INFO") for node in self.nodes)
        )

    def _ranges(self) -> list[tuple[int, int]]:
        edges = [16384 * place // self.primaries for place in range(self.primaries + 1)]
        return [(first, after - 1) for first, after in itertools.pairwise(edges)]

    def form(self) -> None:
        """Introduce the nodes to each other, and wait until all agree."""
        self.ids = [node.command("CLUSTER", "MYID").split(b"\r\n")[1].decode() for node in self.nodes]
        for node, (first, last) in zip(self.nodes, self._ranges(), strict=False):
            assert node.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)).startswith(b"+OK")
        for place, node in enumerate(self.nodes):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", str(place + 1))
            if place:
                node.command("CLUSTER", "MEET", "127.0.0.1", str(self.nodes[0].port), str(self.buses[0]))
        everybody = b"cluster_known_nodes:%d\r" % len(self.nodes)
        _await(
            "the cluster forms", lambda: self.knows(b"cluster_state:ok", b"cluster_slots_assigned:16384\r", everybody)
        )
        for place, node in enumerate(self.nodes[self.primaries :]):
            node.command("CLUSTER", "REPLICATE", self.ids[place])
        for node in self.nodes[self.primaries :]:
            _await(
                "a replica follows", lambda node=node: b"master_link_status:up" in node.command("INFO", "replication")
            )


@contextmanager
def redis_cluster(*options: str, primaries: int = 3, replicas: int = 0) -> Iterator[RedisCluster]:
    """Start a Redis Cluster; `replicas` of its primaries have one."""
    own = ("--cluster-enabled", "yes", "--repl-diskless-sync-delay", "0")
    with ExitStack() as stack:
        # Without a port of its own the bus would be ten thousand above, which may be no port at all.
        buses = [free_port() for _ in range(primaries + replicas)]
        nodes = [stack.enter_context(redis_server(*own, "--cluster-port", str(bus), *options)) for bus in buses]
        cluster = RedisCluster(nodes, primaries, buses)
        cluster.form()
        yield cluster


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
            process.wait(60)


def _await(what: str, holds: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def _await_answer(server: RedisServer, log: Path) -> None:
    deadline = time.monotonic() + 90
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
