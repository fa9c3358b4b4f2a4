"""kopf, which says that something changed, and is used for nothing else.

It runs in a thread with a loop of its own, because it takes over signals and cancels what it does not know. Its
handlers are the lowest there are: they keep no state, so that no object of anybody's bears a mark of it: no finalizer,
no annotation. Whatever ends it, it is started anew; and because its lists do not tell what went while it was not
watching, everything is then listed by ourselves.

A watch that the API refuses once, as it does for a moment after its own restart, when it does not know roles yet, ends
for ever in kopf, while the other watches go on: so kopf is ended too, and started anew with all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import kopf

from penstock_chassis import logs
from penstock_operator import metrics
from penstock_operator.kinds import WATCHED

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_catalog.cluster_access import ClusterAccess
    from penstock_operator.cluster import Object
    from penstock_operator.kinds import Kind

log = logs.get(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_WATCH_SECONDS: Final = 300
_CONNECT_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.5
_ALL_WATCHED_SECONDS: Final = 20.0
_WATCH_TASK: Final = "watcher for "
"""What the names of kopf's tasks begin with that watch one kind each."""
_IDENTITY: Final[Any] = "penstock-operator"


class Watching:
    """Tells every event of the kinds that are watched to `tell`, in the loop that `run` is called in.

    An event's type is ADDED, MODIFIED or DELETED; None stands for an object of a list. `begun` is called when lists
    have been made, and may have missed something.
    """

    def __init__(
        self,
        access: ClusterAccess,
        namespace: str,
        *,
        tell: Callable[[Kind, str | None, Object], None],
        begun: Callable[[], None],
    ) -> None:
        self._access = access
        self._namespace = namespace
        self._tell = tell
        self._begun = begun

    async def run(self) -> None:
        """Watch until cancelled."""
        pause = _FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._one_life(loop)
            metrics.WATCH_RESTARTS.inc()
            pause = _FIRST_PAUSE if loop.time() - began > _LONGEST_PAUSE * 2 else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _one_life(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run kopf until it ends or no longer hears everything, which happens only when something is wrong."""
        stop = threading.Event()
        ended: asyncio.Future[str] = loop.create_future()

        def tell_end(reason: str) -> None:
            with contextlib.suppress(RuntimeError):  # The loop may be gone by now.
                loop.call_soon_threadsafe(_settle, ended, reason)

        def live() -> None:
            reason = ""
            try:
                asyncio.run(self._operate(loop, stop, tell_end))
            except BaseException as error:  # noqa: BLE001 -- whatever ends it is told, and it is started anew
                reason = type(error).__name__
            tell_end(reason)

        thread = threading.Thread(target=live, name="kopf", daemon=True)
        thread.start()
        self._begun()
        try:
            reason = await ended
            log.warning("watching_ended", reason=reason or "stopped")
        finally:
            stop.set()
            await asyncio.to_thread(thread.join, _STOP_SECONDS)

    async def _operate(
        self, loop: asyncio.AbstractEventLoop, stop: threading.Event, tell_end: Callable[[str], None]
    ) -> None:
        looking = asyncio.create_task(_until_deaf(stop), name="looking after watches")
        work = kopf.operator(
            registry=self._registry(loop),
            settings=_settings(),
            # Without one, kopf would ask who we are, and not every pod's user has a name.
            identity=_IDENTITY,
            standalone=True,
            namespaces=[self._namespace],
            stop_flag=stop,
        )
        operating = asyncio.create_task(work, name="kopf")
        try:
            await asyncio.wait({operating, looking}, return_when=asyncio.FIRST_COMPLETED)
            if looking.done():
                # kopf may wait for ever for a stream that broke while it was being ended. The next life begins without
                # waiting for this one, and what is left of it is cancelled with its loop.
                tell_end("a watch was lost")
                stop.set()
                await asyncio.wait({operating}, timeout=_STOP_SECONDS)
            if operating.done():
                operating.result()
        finally:
            looking.cancel()

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry, id="login")
        async def login(**_: Any) -> kopf.AiohttpSession:
            return self._session()

        for kind in WATCHED:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id="seen")(self._seen(kind, loop))
        return registry

    def _session(self) -> kopf.AiohttpSession:
        """Log in. This is asked again whenever the API no longer knows the token, which is rotated."""
        token = self._access.token()
        connector = aiohttp.TCPConnector(limit=0, ssl=self._access.tls())
        headers = {"authorization": f"Bearer {token}"} if token else {}
        session = aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False)
        return kopf.AiohttpSession(server=self._access.server, aiohttp_session=session)

    def _seen(self, kind: Kind, loop: asyncio.AbstractEventLoop) -> Callable[..., Any]:
        async def seen(event: Any, **_: Any) -> None:
            item = {"apiVersion": kind.api_version, "kind": kind.name, **event["object"]}
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._tell, kind, event["type"], item)

        return seen


async def _until_deaf(stop: threading.Event) -> None:
    """Return as soon as a kind is no longer watched, or when not all are watched in time, or when told to stop."""
    clock = asyncio.get_running_loop().time
    complete_by, complete = clock() + _ALL_WATCHED_SECONDS, False
    while not stop.is_set():
        await asyncio.sleep(_LOOK_SECONDS)
        watches = sum(task.get_name().startswith(_WATCH_TASK) for task in asyncio.all_tasks())
        if watches >= len(WATCHED):
            complete = True
        elif (complete or clock() > complete_by) and not stop.is_set():
            log.warning("watch_lost", watched=watches, wanted=len(WATCHED))
            return


def _settle(future: asyncio.Future[str], reason: str) -> None:
    if not future.done():
        future.set_result(reason)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    settings.watching.server_timeout = _WATCH_SECONDS
    settings.watching.client_timeout = _WATCH_SECONDS + 30
    settings.watching.connect_timeout = _CONNECT_SECONDS
    settings.watching.reconnect_backoff = 0.5
    settings.watching.chunk_size = 500
    # Releases of Helm are large, and none of ours.
    settings.watching.field_selectors["v1", "secrets"] = "type!=helm.sh/release.v1"
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = _CONNECT_SECONDS
    settings.networking.error_backoffs = (0.5, 1, 2)
    settings.persistence.diffbase_storage = _NoBase()
    settings.persistence.progress_storage = _NoProgress()
    # An object's queue is a task; those of a list need not linger.
    settings.queueing.idle_timeout = 0.2
    settings.queueing.exit_timeout = 1.0
    return settings


class _NoBase(kopf.DiffBaseStorage):
    """Keeps nothing of how objects were, and computes nothing either, which is half of what an event costs."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Keeps nothing of what handlers have done."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


def quiet() -> None:
    """Keep kopf's own lines to what is wrong: it logs at levels of its own."""
    for name in ("kopf", "kopf.objects", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It warns that it leaves signals alone, which it should.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
