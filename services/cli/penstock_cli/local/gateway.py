"""`penstock up` from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from penstock_chassis import ending
from penstock_cli.admin import Admin
from penstock_cli.connection import Connection
from penstock_cli.data_dir import DataDir, forget, write_private
from penstock_cli.errors import CommandError, UnreachableError
from penstock_cli.local import banner, desired, ports, probe, sample
from penstock_cli.local.admin_ready import AdminReady
from penstock_cli.local.banner_key import banner_key
from penstock_cli.local.ending import Ending
from penstock_cli.local.fleet import SIMULATOR_KEYS, TOTAL_MARGIN_SECONDS, Fleet
from penstock_cli.local.processes import Child, exit_words
from penstock_cli.local.supervisor import Supervisor
from penstock_cli.settings import DEFAULT_DATA_DIR, inheritable

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping
    from typing import Any

    from penstock_catalog.local import LocalState
    from penstock_cli.local.options import UpOptions
    from penstock_cli.local.voice import Voice

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 15.0
"""After each such time without readiness, what is missing is said."""
HOPELESS_STARTS = 3
"""A process that ends by itself so often before the gateway ever served will not do better."""
KEY_TRIES = 20


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything of one gateway is."""

    folder: DataDir
    gateway: str
    admin: str
    simulator: str | None


class Gateway:
    """One `penstock up`."""

    def __init__(self, options: UpOptions, environment: Mapping[str, str], voice: Voice) -> None:
        self._options = options
        self._environment = environment
        self._voice = voice
        self._folder = DataDir(options.data_dir)
        self._ending = Ending(time.monotonic, self._say_ending)

    async def run(self) -> int:
        """Run until a signal; returns the exit code. Raises CommandError when it cannot start."""
        self._ending.listen()
        self._folder.prepare()
        lock = self._folder.lock()
        try:
            with self._claimed_ports() as (options, simulator_port):
                return await self._run(options, simulator_port)
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _claimed_ports(self) -> Iterator[tuple[UpOptions, int]]:
        """Give the options with real ports, and the simulator's; all stay reserved. Raises CommandError."""
        options = self._options
        with (
            ports.take(options.host, options.port, "--port") as gateway,
            ports.take(options.host, options.admin_port, "--admin-port") as admin,
            ports.take("127.0.0.1", 0, "--port") as simulator,
        ):
            real = replace(options, port=ports.number(gateway), admin_port=ports.number(admin))
            yield real, ports.number(simulator)

    async def _run(self, options: UpOptions, simulator_port: int) -> int:
        host = ports.reachable(options.host)
        gateway = f"http://{host}:{options.port}"
        simulator = f"http://127.0.0.1:{simulator_port}"
        origin = desired.origin(
            options.resources,
            self._environment,
            self._folder.root,
            gateway,
            simulator,
            SIMULATOR_KEYS,
        )
        for remark in origin.remarks:
            self._voice.say(remark)
        state = desired.publish_first(origin.catalog, self._voice)
        places = Places(
            self._folder,
            gateway,
            f"http://{host}:{options.admin_port}",
            simulator if origin.simulated else None,
        )
        self._folder.token()
        self._folder.ending.unlink(missing_ok=True)
        write_private(self._folder.admin_url, places.admin + "\n")
        write_private(self._folder.gateway_url, places.gateway + "\n")
        fleet = Fleet(
            options,
            self._folder,
            self._folder.sockets(),
            inheritable(dict(self._environment)),
            simulator_port=simulator_port if origin.simulated else None,
        )
        async with httpx.AsyncClient(trust_env=False) as client:
            admin_ready = AdminReady(self._folder.ready, places.admin, client, POLL_SECONDS, self._voice.say)
            supervisor = Supervisor(self._children(fleet, admin_ready), time.monotonic, self._say_turn)
            greeting = Greeting(options, origin, state, places, supervisor, client, self._voice)
            supervisor.start()
            try:
                await self._until_asked(
                    desired.follow(origin.catalog, self._voice), admin_ready.keep(), greeting.give()
                )
            finally:
                forget(self._folder.ready)
                code = await self._end(supervisor, options.drain_seconds + TOTAL_MARGIN_SECONDS)
                for told in (self._folder.ending, self._folder.admin_url, self._folder.gateway_url):
                    forget(told)
        return code

    def _children(self, fleet: Fleet, admin_ready: AdminReady) -> list[Child]:
        children = []
        for program in fleet.programs():
            hooks: dict[str, Any] = {}
            if program.module == "penstock_status.main":
                hooks = {"started": admin_ready.changed, "ended": admin_ready.changed}
            children.append(Child(program, self._folder.run, self._voice, **hooks))
        return children

    async def _until_asked(self, *works: Coroutine[Any, Any, None]) -> None:
        """Do all of these until a signal; the first failure is raised."""
        asked = asyncio.create_task(self._ending.asked.wait(), name="asked to end")
        going: set[asyncio.Task[Any]] = {asyncio.create_task(work) for work in works}
        try:
            while not asked.done():
                done, _ = await asyncio.wait({asked, *going}, return_when=asyncio.FIRST_COMPLETED)
                for task in done & going:
                    task.result()
                going -= done
        finally:
            for task in (asked, *going):
                task.cancel()
            await asyncio.gather(asked, *going, return_exceptions=True)

    async def _end(self, supervisor: Supervisor, seconds: float) -> int:
        """End everything in order, at once when a signal insists; 0 when nobody insisted."""
        ending = asyncio.create_task(supervisor.stop(seconds), name="end")
        insisted = asyncio.create_task(self._ending.insisted.wait(), name="insisted")
        await asyncio.wait({ending, insisted}, return_when=asyncio.FIRST_COMPLETED)
        insisted.cancel()
        if ending.done():
            if not ending.result():
                self._voice.say("some processes did not end in time and were killed; spools are settled next time")
            return 0
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        await supervisor.kill()
        return 1

    def _say_turn(self, last: bool) -> None:
        """Tell the processes whose turn it is: a signal to the whole group has reached all of them at once."""
        with contextlib.suppress(OSError):
            write_private(self._folder.ending, ending.ALL if last else ending.FIRST)

    def _say_ending(self, signal_name: str) -> None:
        seconds = self._options.drain_seconds
        self._voice.say(f"{signal_name}: ending; open streams get {seconds:g} s, a second signal ends them now")


class Greeting:
    """Waits until the gateway serves, then prints the banner."""

    def __init__(
        self,
        options: UpOptions,
        origin: desired.Origin,
        state: LocalState,
        places: Places,
        supervisor: Supervisor,
        client: httpx.AsyncClient,
        voice: Voice,
    ) -> None:
        self._options = options
        self._origin = origin
        self._state = state
        self._places = places
        self._supervisor = supervisor
        self._client = client
        self._voice = voice

    async def give(self) -> None:
        """Wait, then print. Raises CommandError when a process cannot start."""
        await self._serving()
        chosen = None
        if self._state.compiled is not None:
            chosen = sample.choose(self._state.compiled, time.time_ns() // 1_000_000)
        command = await self._command(chosen) if chosen is not None else None
        sys.stdout.write(banner.text(self._facts(chosen), command))
        sys.stdout.flush()

    async def _serving(self) -> None:
        begun = said = time.monotonic()
        while missing := await self._missing():
            self._refuse_the_hopeless()
            if time.monotonic() - said >= PATIENCE_SECONDS:
                said = time.monotonic()
                self._voice.say(
                    f"not serving after {said - begun:.0f} s: {'; '.join([missing, *await self._behind()])}"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _missing(self) -> str:
        """Say what is not ready yet; empty when every edge is."""
        edges = [f"edge-{number}" for number in range(self._options.edges)]
        told = banner.metrics_ports(self._places.folder.run, edges)
        if absent := [edge for edge in edges if edge not in told]:
            return f"{', '.join(absent)} not started"
        bases = [f"http://127.0.0.1:{port}" for port in told.values()]
        for base in (*bases, self._places.gateway):
            health = await probe.readyz(self._client, base)
            if not health.ready:
                return f"{base}/readyz: {health.reason}"
        return ""

    async def _behind(self) -> list[str]:
        """Say why each process that is no edge is not ready: an edge knows only that it has not reached it."""
        names = [child.program.name for child in self._supervisor.children]
        told = banner.metrics_ports(self._places.folder.run, [name for name in names if not name.startswith("edge-")])
        states = [(name, await probe.readyz(self._client, f"http://127.0.0.1:{told[name]}")) for name in told]
        return [f"{name}: {health.reason}" for name, health in states if not health.ready]

    def _refuse_the_hopeless(self) -> None:
        for child in self._supervisor.children:
            if child.backoff.in_a_row >= HOPELESS_STARTS and (child.last_exit or 0) >= 0:
                words = exit_words(child.last_exit)
                raise CommandError(f"{child.program.name} cannot start ({words}); what it said stands above")

    async def _command(self, chosen: sample.Sample) -> str | None:
        """Return the curl command with a key that works; None when there is no way to one."""
        if chosen.secret_name is not None:
            path = self._origin.catalog.key_path(chosen.secret_name)
            return sample.curl(self._places.gateway, chosen, path.read_text(encoding="utf-8").strip())
        for _ in range(KEY_TRIES):
            try:
                key = await asyncio.to_thread(self._own_key, chosen)
            except UnreachableError:
                await asyncio.sleep(POLL_SECONDS * 10)
            except CommandError as error:
                self._voice.say(f"no key could be made for the example: {error}")
                return None
            else:
                return sample.curl(self._places.gateway, chosen, key)
        return None

    def _own_key(self, chosen: sample.Sample) -> str:
        folder = self._places.folder
        with Admin(Connection(self._places.admin, folder.token())) as admin:
            return banner_key(admin, folder.banner_key, chosen)

    def _facts(self, chosen: sample.Sample | None) -> banner.Facts:
        options, folder = self._options, self._places.folder
        names = [child.program.name for child in self._supervisor.children]
        database = "a database by URL" if options.database_url else "SQLite"
        counters = "counters in Redis" if options.redis_url else "counters in memory"
        return banner.Facts(
            gateway=self._places.gateway,
            admin=self._places.admin,
            accounts=self._origin.words,
            data_dir=folder.root,
            default_data_dir=folder.root == DEFAULT_DATA_DIR.absolute(),
            store=f"{database}, {counters}",
            processes=sorted(names),
            metrics=banner.metrics_ports(folder.run, sorted(names)),
            simulator=self._places.simulator,
            plan=chosen.plan if chosen else None,
            program=banner.program(Path(sys.prefix, "bin", "penstock"), Path.cwd(), shutil.which("penstock")),
        )
