"""The operator process: puts its parts together, in this order, and lives."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

from penstock_catalog.cluster_access import AccessError, ClusterAccess, find_access
from penstock_catalog.documents import AuthCatalog, RouterCatalog
from penstock_catalog.shards import secret_names
from penstock_chassis import logs
from penstock_chassis.identity import Component
from penstock_chassis.process import StartError, run, told
from penstock_chassis.rpc_transport import Transport
from penstock_operator import handlers, metrics
from penstock_operator.admin_token import AdminTokenKeeper
from penstock_operator.alarm import Alarm
from penstock_operator.certificates import Terms
from penstock_operator.certificates_files import OwnFiles
from penstock_operator.certificates_keeper import CertificateKeeper
from penstock_operator.cluster import Cluster
from penstock_operator.events import Recorder
from penstock_operator.keys import Issuer
from penstock_operator.kinds import SECRET
from penstock_operator.observing import Observer
from penstock_operator.probing import Probing, Routers
from penstock_operator.publishing import Publisher
from penstock_operator.seen import Seen
from penstock_operator.settings import OperatorSettings
from penstock_operator.statuses import StatusWriter
from penstock_operator.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from penstock_operator.cluster import Object
    from penstock_operator.kinds import Kind

_log = logs.get(__name__)

_FIRST = "first certificate"


class OperatorService:
    """One life of the operator, for the chassis."""

    def __init__(self, settings: OperatorSettings, access: ClusterAccess | None = None) -> None:
        self.settings = settings
        self._access = access or _access()
        self.cluster = Cluster(self._access, settings.namespace, deadline_seconds=settings.api_deadline_seconds)
        self._alarm = Alarm()
        names = (*secret_names(settings.router_catalog), *secret_names(settings.auth_catalog))
        self.seen = Seen(names, self._alarm.ring)
        self.turns: Turns | None = None
        self._keeper: CertificateKeeper | None = None
        self._recorder = Recorder(self.cluster)
        self._tasks: list[asyncio.Task[None]] = []
        self._failed = ""

    async def start(self) -> None:
        """Begin everything; what is not there yet is waited for in the background, and told by `ready`."""
        handlers.quiet()
        settings = self.settings
        self._begin("events", self._recorder.run())
        if settings.admin_token_secret:
            token = AdminTokenKeeper(self.cluster, settings.release, settings.admin_token_secret)
            self._begin("admin token", token.run())
        if settings.certificates == "Given":
            self._live(settings)
            return
        try:
            files = OwnFiles(settings.tls_dir)
        except OSError as error:
            raise StartError(f"{settings.tls_dir} cannot hold the operator's certificate: {error.strerror}") from error
        self._keeper = CertificateKeeper(
            self.cluster,
            settings.release,
            settings.tls_domain,
            files=files,
            terms=Terms(hold_seconds=settings.authority_step_seconds),
            tell=self._recorder.record,
        )
        self._begin("authority", self._keeper.run())
        self._begin(_FIRST, self._live_certified(self._keeper, files))

    async def drain(self, seconds: float) -> None:
        """Stop. Whatever was half done is done by the next operator."""
        del seconds
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.cluster.close()

    def ready(self) -> tuple[bool, str]:
        """Ready when everything has been seen and the last turn could do all that it wanted."""
        if self._failed:
            return False, f"{self._failed} ended"
        return self.turns.ready() if self.turns is not None else (False, "has no certificate yet")

    async def _live_certified(self, keeper: CertificateKeeper, files: OwnFiles) -> None:
        await keeper.ready.wait()
        self._live(files.told(self.settings))

    def _live(self, settings: OperatorSettings) -> None:
        """Build what needs a certificate, and begin it. Raises StartError."""
        transport = Transport(Component.OPERATOR, settings)
        routers = self._observer(Component.ROUTER, settings.routers, transport)
        auths = self._observer(Component.AUTH, settings.auths, transport)
        recorder = self._recorder
        statuses = StatusWriter(
            self.cluster, self.seen, recorder, wake=self._alarm.nudge, status_seconds=settings.status_seconds
        )
        probing = Probing(Routers(routers.speaking), wake=self._alarm.nudge, again_seconds=settings.probe_seconds)
        turns = Turns(
            settings,
            self.cluster,
            self.seen,
            issuer=Issuer(self.cluster, self.seen, recorder, release=settings.release, key_prefix=settings.key_prefix),
            probing=probing,
            statuses=statuses,
            router=Publisher(self.cluster, self.seen, settings.router_catalog, RouterCatalog, settings.release),
            auth=Publisher(self.cluster, self.seen, settings.auth_catalog, AuthCatalog, settings.release),
            routers=routers.fleet,
            auths=auths.fleet,
            alarm=self._alarm,
        )
        self.turns = turns
        watching = handlers.Watching(self._access, self.cluster.namespace, tell=self._tell, begun=turns.list_soon)
        self._begin("certificates", transport.run())
        self._begin("routers", routers.run())
        self._begin("auths", auths.run())
        self._begin("statuses", statuses.run())
        self._begin("probing", probing.run())
        self._begin("turns", turns.run())
        self._begin("watching", _after(turns.listed, watching.run()))

    def _observer(self, component: Component, addresses: tuple[str, ...], transport: Transport) -> Observer:
        observer = Observer(
            component, addresses, transport, wake=self._alarm.nudge, outage_seconds=self.settings.outage_seconds
        )
        metrics.REPLICAS.labels(component.value, "speaking").set_function(lambda: len(observer.speaking()))
        metrics.REPLICAS.labels(component.value, "silent").set_function(lambda: len(observer.fleet().silent))
        return observer

    def _tell(self, kind: Kind, event: str | None, item: Object) -> None:
        """Take in an event. An object that is listed again means that watching has begun anew."""
        if kind is SECRET and self._keeper is not None:
            self._keeper.secret_changed(item["metadata"]["name"])
        if event == "DELETED":
            self.seen.remove(kind, item)
            return
        self.seen.put(kind, item)
        if event is None and self.turns is not None:
            self.turns.list_soon()

    def _begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (task.get_name() == _FIRST and task.exception() is None):
            return
        self._failed = task.get_name()
        _log.error("task_ended", task=task.get_name(), exc_info=task.exception())
        # Half an operator would look alive and do nothing: the next one starts from what the cluster holds.
        os.kill(os.getpid(), signal.SIGTERM)


async def _after(event: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    try:
        await event.wait()
    except asyncio.CancelledError:
        work.close()
        raise
    await work


def _access() -> ClusterAccess:
    try:
        return find_access(os.environ)
    except AccessError as error:
        raise StartError(str(error)) from error


def main() -> None:
    """Live."""
    settings = told(OperatorSettings)
    sys.exit(run(lambda: OperatorService(settings), settings))


if __name__ == "__main__":
    main()
