"""A gateway as in a cluster, with several processes of each kind, and the load of clients who tell what they saw.

Each edge has an address and a spool of its own; a round robin over those in rotation stands for the Service before
them. Auths and routers are found at fixed addresses of which not all need be there.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import yaml

from penstock_catalog import api_key, documents, reader
from penstock_catalog.compiler import IssuedKey, Options, compile_catalog
from tests.client import Exchange, exchange
from tests.ports import free_port
from tests.stack import START_SECONDS, Simulator, clean_environment, wait_until
from tests.unit.chassis.certificate_files import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

# A machine that is busy with other tests is no reason to refuse anybody.
ADMIT_SECONDS = "30"
PLACES = 3
"""Addresses of auths, and of routers."""


class LargeStack:
    """The processes by name. `auth` and `router` are further settings of all processes of a kind, `own` of one."""

    def __init__(
        self,
        folder: Path,
        resources: Sequence[Mapping[str, Any]],
        *,
        keys: Sequence[str],
        auth: Mapping[str, str],
        router: Mapping[str, str],
        own: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.folder = folder
        self._own = own or {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}
        self.rotation: list[str] = []
        self.keys: dict[str, str] = {}
        self._turn = itertools.count()
        self._choosing = threading.Lock()
        self._callers: dict[int, list[Exchange]] = {}
        # One for all looks: each new one would read every authority of the machine.
        self._client = httpx.Client(timeout=20)
        self._kinds = {"auth": dict(auth), "router": dict(router), "edge": {"ADMIT_SECONDS": ADMIT_SECONDS}}
        folder.mkdir(parents=True, exist_ok=True)
        authority = Authority(folder / "tls")
        self._files = {kind: authority.issue(kind) for kind in self._kinds}
        self._addresses = {kind: [f"127.0.0.1:{free_port()}" for _ in range(PLACES)] for kind in ("auth", "router")}
        self._write(resources, keys)

    def _write(self, resources: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> None:
        issued = {}
        for name in keys:
            made = api_key.generate("psk_", secrets.token_bytes)
            self.keys[name] = made.text
            issued[name] = IssuedKey(made.id, made.shown, made.digest.hex())
        compiled = compile_catalog(
            reader.read_text(yaml.safe_dump_all(resources), "resources.yaml"),
            options=Options(private_addresses="Allow"),
            keys=issued,
        )
        assert all(status.ready for status in compiled.statuses), compiled.statuses
        documents.write(self.folder / "router-catalog.json", compiled.router)
        documents.write(self.folder / "auth-catalog.json", compiled.auth)

    def begin(self, name: str) -> None:
        """Start `edge-0`, `auth-1`, ..."""
        kind, _, place = name.partition("-")
        files = self._files[kind]
        told = {"NAME": name, "DRAIN_SECONDS": "60"} | self._kinds[kind]
        told |= {"TLS_CERT_FILE": str(files.chain), "TLS_KEY_FILE": str(files.key), "TLS_CA_FILE": str(files.authorities)}  # fmt: skip
        if kind == "edge":
            self.ports[name] = free_port()
            told |= {"PORT": str(self.ports[name]), "SPOOL_DIR": str(self.folder / f"spool-{place}")}
            told |= {f"{to.upper()}_ADDRESS": "ipv4:" + ",".join(self._addresses[to]) for to in ("auth", "router")}
        else:
            self.ports[name] = free_port()
            told |= {"ADDRESS": self._addresses[kind][int(place)], "METRICS_PORT": str(self.ports[name])}
            told["CATALOG_PATH"] = str(self.folder / f"{kind}-catalog.json")
        told |= self._own.get(name, {})
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"penstock_{kind}.main"],
                env=clean_environment(**{f"PENSTOCK_{kind.upper()}_{field}": value for field, value in told.items()}),
                stderr=log,
            )

    def await_ready(self, *names: str) -> None:
        """Wait until they say that they are; edges come into rotation then."""
        for name in names:
            wait_until(f"{name} is ready", lambda name=name: self._ready(name), START_SECONDS, 0.1)
            if name.startswith("edge"):
                with self._choosing:
                    self.rotation.append(name)

    def start(self, *names: str) -> None:
        """Start them side by side and wait until they are ready."""
        for name in names:
            self.begin(name)
        self.await_ready(*names)

    def _ready(self, name: str) -> bool:
        assert self.processes[name].poll() is None, self.log(name)[-4000:]
        answer = self._answers(name)
        return answer is not None and answer.is_success

    def _answers(self, name: str) -> httpx.Response | None:
        try:
            return self._client.get(f"http://127.0.0.1:{self.ports[name]}/readyz", headers={"connection": "close"})
        except httpx.TransportError:
            return None

    def stop(self, *names: str) -> None:
        """Take them away as Kubernetes does: out of the Service, a moment later SIGTERM. They must end well."""
        with self._choosing:
            self.rotation = [name for name in self.rotation if name not in names]
        for name in names:
            self._await_callers(name)
            self.processes[name].send_signal(signal.SIGTERM)
        for name in names:
            assert self.processes.pop(name).wait(120) == 0, self.log(name)[-4000:]

    def _await_callers(self, name: str) -> None:
        """Wait, as a preStop hook does, until it has taken the connections of all who had chosen it."""
        callers = self._callers.get(self.ports[name], [])
        wait_until(f"{name} is called no more", lambda: all(one.sent for one in callers))
        # Connections are taken in order: one that comes last has been answered, so those before it were taken.
        wait_until(f"{name} has taken them", lambda: self._answers(name))

    def kill(self, name: str) -> None:
        """SIGKILL it."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def freeze(self, name: str) -> None:
        """SIGSTOP it: its connections stay, and nobody answers. Nothing but `kill` ends it."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def log(self, name: str) -> str:
        """All that processes of this name wrote."""
        return (self.folder / f"{name}.log").read_text()

    def choose(self, caller: Exchange) -> int:
        """The port of the edge whose turn it is, for a caller whom it will not be taken away from before."""
        with self._choosing:
            port = self.ports[self.rotation[next(self._turn) % len(self.rotation)]]
            self._callers.setdefault(port, []).append(caller)
        return port

    def unsettled(self) -> list[str]:
        """What is left in the spools of edges that are gone."""
        gone = [folder for folder in self.folder.glob("spool-*/*") if folder.name not in self.processes]
        return [str(path.name) for folder in gone for path in folder.glob("*.spool")]

    def end(self) -> None:
        """End everything, edges first."""
        self._client.close()
        for name in sorted(self.processes, key=lambda name: not name.startswith("edge")):
            self.processes[name].terminate()
        for process in self.processes.values():
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Load:
    """Clients that go on sending until `stop`. `pause`: seconds before a client that was refused tries again."""

    def __init__(
        self, stack: LargeStack, key: str, work: Callable[[], bytes], clients: int, pause: float = 0.2
    ) -> None:
        self.answers: list[Exchange] = []
        self._served: set[int] = set()
        self._stack = stack
        self._key = stack.keys[key]
        self._work = work
        self._pause = pause
        self._stopping = False
        self._tasks = [asyncio.create_task(self._client()) for _ in range(clients)]

    async def _client(self) -> None:
        while not self._stopping:
            seen = Exchange()
            self.answers.append(seen)
            port = self._stack.choose(seen)
            await exchange(port, self._key, self._work(), seen=seen)
            if seen.good:
                self._served.add(port)
            if seen.status != 200:
                await asyncio.sleep(self._pause)

    async def served(self, more: int) -> None:
        """Wait until so many more requests have been answered well, so that what happened has met with traffic."""
        wanted = self.good + more
        await _until(lambda: self.good >= wanted)

    async def served_by_all(self) -> None:
        """Wait until every edge in rotation has answered one of these requests well."""
        await _until(lambda: self._served.issuperset(self._stack.ports[name] for name in self._stack.rotation))

    async def refused(self) -> None:
        """Wait until a limit has been met."""
        await _until(lambda: any(one.status == 429 for one in self.answers))

    async def streaming(self) -> None:
        """Wait until a stream is under way."""
        await _until(lambda: any(one.output_at and not one.ended for one in self.answers))

    @property
    def good(self) -> int:
        """How many have been answered well."""
        return sum(1 for one in self.answers if one.good)

    async def stop(self) -> list[Exchange]:
        """Let what is open end; returns all answers."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        return self.answers


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(180):
        while not holds():
            await asyncio.sleep(0.05)


def bad(answers: Sequence[Exchange], *allowed: int) -> list[tuple[int, bool, str, bytes]]:
    """Those that a client would complain of: neither good nor of a status that is `allowed`; and how long they took."""
    wrong = [one for one in answers if not one.good and one.status not in allowed]
    return [(one.status, one.cut, f"{one.ended - one.began:.1f} s", one.body[-120:]) for one in wrong]


class Ledger:
    """The settlements of a PostgreSQL ledger, read as they stand there."""

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(self, key: str = "") -> list[dict[str, Any]]:
        """All rows, or those of one declared key, by the time of admission."""
        query = (
            "SELECT s.*, k.name AS key FROM settlements s JOIN api_keys k ON k.id = s.key_id ORDER BY admitted_at_ms"
        )
        with psycopg.connect(self._url, row_factory=psycopg.rows.dict_row) as link:
            return [row for row in link.execute(query).fetchall() if key in {"", row["key"]}]

    def await_rows(self, wanted: set[str]) -> list[dict[str, Any]]:
        """Wait until all of these requests have theirs."""
        wait_until("every request has its row", lambda: wanted <= {row["request_id"] for row in self.rows()}, 120, 0.5)
        return self.rows()


def most_in(seconds: float, admitted: Sequence[tuple[float, float]]) -> int:
    """The most requests that were surely admitted within one time of this length.

    Each is told by when its client sent it and when its upstream had it: between the two it was admitted.
    """
    within = (sum(sent >= begin and had < begin + seconds for sent, had in admitted) for begin, _ in admitted)
    return max(within, default=0)


def most_at_once(records: Sequence[Mapping[str, Any]]) -> int:
    """The most of the simulator's records that were open at the same time."""
    moments = [(record["arrived_at"], 1) for record in records] + [(record["ended_at"], -1) for record in records]
    return max(itertools.accumulate(change for _, change in sorted(moments)), default=0)


def compare(simulator: Simulator, rows: Sequence[Mapping[str, Any]], answers: Sequence[Exchange]) -> None:
    """The books balance: each good answer has one row, each row one upstream request, with the same tokens."""
    served = {record["request_id"]: record for record in simulator.messages()}
    by_id = {row["request_id"]: row for row in rows}
    assert len(by_id) == len(rows)
    assert set(by_id) == set(served)
    told = [one.request_id for one in answers if one.good]
    assert len(told) == len(set(told))
    assert set(told) == set(by_id)
    for name, row in by_id.items():
        usage = served[name]["usage"]
        assert row["state"] == "complete", row
        assert (row["input_tokens"], row["output_tokens"]) == (usage["input_tokens"], usage["output_tokens"]), row
