"""One life of a process: start, probes, wait for a signal, drain, exit."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Protocol, TypeVar

import uvloop

from penstock_chassis import compiled, heap, logs, process_metrics, tracing
from penstock_chassis.ending import Ending
from penstock_chassis.http import AddressTakenError, HttpServer, listen
from penstock_chassis.probes import Probes, Pulse
from penstock_chassis.settings import ProcessSettings, SettingsError
from penstock_chassis.streams import forget_unwritten
from penstock_chassis.telemetry_settings import TelemetrySettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_chassis.telemetry import Exporting

log = logs.get(__name__)

_Settings = TypeVar("_Settings", bound=ProcessSettings)
_PR_SET_PDEATHSIG = 1
# Beyond the drain itself: what closing servers and flushing may take.
_GRACE_SECONDS = 5.0
# At the very end: for the last traces.
_TRACES_SECONDS = 0.5
# After that: for threads and tasks that nobody waits for any more.
_LAST_SECONDS = 5.0


class StartError(Exception):
    """The process cannot start; the message says what happened and what to do."""


class Service(Protocol):
    """What a process does between its start and its end."""

    async def start(self) -> None:
        """Open everything; returns when the process could serve. Raises StartError."""

    async def drain(self, seconds: float) -> None:
        """Stop taking work, let open work end within `seconds`, flush, close."""

    def ready(self) -> tuple[bool, str]:
        """Whether it can serve now, and if not, why."""


def told(kind: type[_Settings]) -> _Settings:
    """Return what the environment tells this process. Where it will not do, say why and exit."""
    try:
        return kind.read()
    except SettingsError as error:
        logs.configure(ProcessSettings(name=_service(kind)))
        log.error("start_failed", reason=str(error))  # noqa: TRY400 -- the message is for people; a traceback says no more
        sys.exit(1)


def run(build: Callable[[], Service], settings: ProcessSettings) -> int:
    """Run the service that `build` makes inside the loop until SIGTERM or SIGINT; returns the exit code."""
    logs.configure(settings)
    if settings.dies_with_parent and not _die_with_parent():
        log.error("start_failed", reason="dies_with_parent is set, and the parent is dead already or process 1")
        return 1
    exporting = _begin_tracing(settings)
    try:
        return uvloop.run(_whole_life(build, settings, exporting))
    except (StartError, AddressTakenError) as error:
        log.error("start_failed", reason=str(error))  # noqa: TRY400 -- the message is for people; a traceback says no more
        return 1
    finally:
        forget_unwritten(sys.stderr)


def _service(kind: type[ProcessSettings]) -> str:
    """Return what kind of process this is: `penstock-edge`."""
    return kind.prefix.strip("_").lower().replace("_", "-") or "penstock"


def _begin_tracing(settings: ProcessSettings) -> Exporting | None:
    """Trace, if OpenTelemetry's variables name a collector. Nothing of this can keep a process from its work."""
    try:
        told = TelemetrySettings.read()
    except SettingsError as error:
        log.error("tracing_off", reason=str(error))  # noqa: TRY400 -- the message is for people; a traceback says no more
        return None
    if not told.wanted():
        return None
    try:
        from penstock_chassis import telemetry  # noqa: PLC0415 -- its library costs time and memory

        exporting = telemetry.begin(told, service=_service(type(settings)), instance=settings.name)
    except Exception as error:  # noqa: BLE001 -- whatever the library says of its variables
        log.error("tracing_off", reason=type(error).__name__)  # noqa: TRY400 -- its text may quote a header or a URL
        return None
    sampling = told.sampling()
    tracing.activate(tracing.Tracer(sampling, exporting))
    log.info("tracing", ratio=sampling.ratio, parent_based=sampling.parent_based)
    return exporting


async def _whole_life(build: Callable[[], Service], settings: ProcessSettings, exporting: Exporting | None) -> int:
    code = 1
    try:
        code = await _live(build, settings, exporting)
        return code
    finally:
        # Python waits for every thread, also for one whose database or disk is frozen.
        cut = threading.Timer(_LAST_SECONDS, _cut_end, (code,))
        cut.daemon = True
        cut.start()


def _cut_end(code: int) -> None:
    log.warning("end_cut", threads=sorted(one.name for one in threading.enumerate() if not one.daemon))
    os._exit(code)


async def _live(build: Callable[[], Service], settings: ProcessSettings, exporting: Exporting | None) -> int:
    ending = Ending(settings.ending_file, settings.ending_seconds)
    stop = ending.due
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # A supervisor that ends its processes in order starts them deaf to the terminal's Ctrl-C.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, ending.told)
    service = build()
    pulse = Pulse()
    pulse.begin()

    def ready() -> tuple[bool, str]:
        return (False, "draining") if stop.is_set() else service.ready()

    process_metrics.READY.set_function(lambda: float(ready()[0]))
    probes = HttpServer(Probes(pulse, ready), [listen(settings.metrics_host, settings.metrics_port)])
    await probes.begin()
    _announce(settings, probes.port)
    starting = asyncio.create_task(service.start(), name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        process_metrics.COMPILED.set(compiled.count())
        log.info("started", metrics_port=probes.port, compiled_modules=compiled.count())
        trimming = asyncio.create_task(heap.keep_small(), name="heap")
        await stopping
        trimming.cancel()
    else:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    stopping.cancel()
    log.info("draining", seconds=settings.drain_seconds)
    code = await _drain(service, settings.drain_seconds)
    if exporting is not None:
        await exporting.end(_TRACES_SECONDS)
    pulse.end()
    await probes.end(0.2)
    log.info("ended")
    return code


async def _drain(service: Service, seconds: float) -> int:
    try:
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            await service.drain(seconds)
    except TimeoutError:
        log.warning("drain_cut", seconds=seconds)
        return 1
    return 0


def _announce(settings: ProcessSettings, metrics_port: int) -> None:
    """Write `<run_dir>/<name>.json` for local mode and tests."""
    if settings.run_dir is None:
        return
    path = settings.run_dir / f"{settings.name}.json"
    part = path.with_suffix(".part")
    try:
        settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_text(json.dumps({"pid": os.getpid(), "metrics_port": metrics_port}))
        part.replace(path)
    except OSError as error:
        raise StartError(f"run_dir cannot be used: {error}") from error


def _die_with_parent() -> bool:
    """Ask Linux for SIGTERM when the parent dies; False when it is dead already."""
    if not sys.platform.startswith("linux"):
        return True
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == parent and parent != 1
