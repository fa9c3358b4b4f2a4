"""The loop. Each turn looks at everything as it is now, decides, publishes, and says how things stand.

No turn knows what woke it, and none depends on what another has done: any may be the first of a new life.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from penstock_catalog.compiler import Compiled, IssuedKey, KeyFailure, Options, compile_catalog
from penstock_catalog.documents import AuthCatalog, RouterCatalog
from penstock_catalog.resources import APIKey
from penstock_chassis import logs, tracing
from penstock_operator import judging, metrics, sights
from penstock_operator.cluster import ClusterError
from penstock_operator.conditions import ACCEPTED
from penstock_operator.credentials import choose, trial_of
from penstock_operator.judging import AccountView, Judge, Situation
from penstock_operator.kinds import CUSTOM, SECRET, WATCHED
from penstock_operator.programmed import Published, side
from penstock_operator.reading import Reader, Reading
from penstock_operator.verdicts import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from penstock_catalog.documents import Account, Document
    from penstock_operator.alarm import Alarm
    from penstock_operator.cluster import Cluster
    from penstock_operator.credentials import Trial
    from penstock_operator.keys import Issued, Issuer
    from penstock_operator.probing import Probing
    from penstock_operator.publishing import Publisher
    from penstock_operator.seen import Seen
    from penstock_operator.settings import OperatorSettings
    from penstock_operator.sights import Fleet
    from penstock_operator.statuses import StatusWriter

log = logs.get(__name__)

_CHECK_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0
_LONGEST_RETRY: Final = 15.0
_AFTER_WATCH_SECONDS, _AFTER_WATCH_MOST = 1.0, 10.0
_HEARING_SECONDS: Final = 5.0
_KIND_OF_FIELD: Final = {"accounts": "UpstreamAccount", "models": "Model", "plans": "Plan", "api_keys": "APIKey"}


@dataclass(slots=True)
class _Catalog:
    """One catalog on its way: what is to be published, and what has been."""

    publisher: Publisher[Any]
    published: Published
    version: str = ""
    payloads: dict[str, bytes] = field(default_factory=dict)


class Turns:
    """The operator's loop, and what it remembers between turns: nothing that cannot be found again."""

    def __init__(
        self,
        settings: OperatorSettings,
        cluster: Cluster,
        seen: Seen,
        *,
        issuer: Issuer,
        probing: Probing,
        statuses: StatusWriter,
        router: Publisher[RouterCatalog],
        auth: Publisher[AuthCatalog],
        routers: Callable[[], Fleet],
        auths: Callable[[], Fleet],
        alarm: Alarm,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._seen = seen
        self._issuer = issuer
        self._probing = probing
        self._statuses = statuses
        self._router, self._auth = _Catalog(router, Published()), _Catalog(auth, Published())
        self._routers, self._auths = routers, auths
        self._alarm = alarm
        self._reader = Reader()
        self._in_force: dict[str, Account] = {}
        self._compiled: tuple[Any, Compiled] | None = None
        self._fitted: tuple[tuple[Compiled, Any], RouterCatalog, AuthCatalog, dict[str, Failure]] | None = None
        self._list_due = self._list_by = 0.0
        self._begun = time.monotonic()
        self._complaint = "has not seen everything yet"
        self.listed = asyncio.Event()
        """Set when everything has been seen once."""

    def ready(self) -> tuple[bool, str]:
        """Whether the last turn could do what it wanted, and the API answers."""
        return not self._complaint, self._complaint

    def list_soon(self) -> None:
        """List everything anew in a moment: watching has begun anew, and may have missed what went."""
        now = time.monotonic()
        if self._list_by < now:
            self._list_by = now + _AFTER_WATCH_MOST
            self._alarm.nudge()
        # A long list is heard of object by object: wait until it has ended.
        self._list_due = min(now + _AFTER_WATCH_SECONDS, self._list_by)

    async def run(self) -> None:
        """Recover what has been published, then turn until cancelled."""
        await self._insist(self._recover)
        await self._insist(self._list)
        self.listed.set()
        retry, next_turn = _RETRY_SECONDS, 0.0
        check_due = time.monotonic() + _CHECK_SECONDS
        while True:
            await self._alarm.wait(min(next_turn, check_due, self._list_due))
            # Changes come in crowds.
            await asyncio.sleep(self._settings.debounce_seconds)
            now = time.monotonic()
            try:
                if now >= self._list_due:
                    await self._list()
                elif now >= check_due:
                    await self._check()
                check_due = time.monotonic() + _CHECK_SECONDS if now >= check_due else check_due
                begun = time.monotonic()
                if not (self._alarm.pending or self._complaint or begun >= next_turn):
                    continue
                with tracing.work("turn"):
                    next_turn = begun + await self.turn()
                self._alarm.turned(time.monotonic() - begun)
                retry, self._complaint = _RETRY_SECONDS, ""
            except Exception as error:  # noqa: BLE001 -- a loop that has ended would be worse than any turn
                metrics.TURNS.labels("failed").inc()
                self._complain(self._words(error))
                check_due = time.monotonic() + _CHECK_SECONDS
                next_turn = time.monotonic() + retry
                # What happened meanwhile may not have been told. A list that failed waits as long as all else does.
                self._list_due = next_turn
                retry = min(retry * 2, _LONGEST_RETRY)
                await asyncio.sleep(_RETRY_SECONDS)

    async def turn(self) -> float:
        """Do everything there is to do; return in how many seconds time alone makes another turn worthwhile.

        Raises ClusterError when the catalogs could not be published; everything else has been done by then.
        """
        self._alarm.quieten()
        begun, now = time.monotonic(), datetime.now(UTC)
        # What changes while this turn waits for something is for the next one, which has to see that it is new.
        revision = self._seen.revision
        objects = {kind: dict(self._seen.of(kind)) for kind in CUSTOM}
        reading = self._reader.read([item for kind in CUSTOM for item in objects[kind].values()], self._seen.of(SECRET))
        declared = [resource for resource in reading.resources if isinstance(resource, APIKey)]
        issued = await self._issuer.issue(declared, now)
        compiled = await self._compile(revision, reading, issued)
        routers, auths = self._routers(), self._auths()
        views = self._choose(compiled.router, routers)
        router, auth, failures = await self._fit(compiled, views)
        problem = await self._publish(router, auth)
        metrics.TURN_SECONDS.observe(time.monotonic() - begun)
        self._probe(views, reading)
        situation = Situation(
            resources=reading.resources,
            faults=reading.faults,
            failures=failures,
            router=router,
            auth=auth,
            accounts=views,
            decisions=issued.decisions,
            key_failures=issued.failures,
            routers=routers,
            router_side=side(self._router.published, routers, "router", sights.sessions(routers, auths).values()),
            auth_side=side(self._auth.published, auths, "auth"),
            now=now,
        )
        if self._heard(routers, auths):
            self._statuses.want(Judge(situation).verdicts(objects))
        if problem is not None:
            raise problem
        metrics.TURNS.labels("ok").inc()
        return self._next(issued, declared, now)

    # Before the first turn, and beside the turns.

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        retry = _RETRY_SECONDS
        while True:
            try:
                await work()
            except ClusterError as error:
                self._complain(str(error))
            else:
                return
            await asyncio.sleep(retry)
            retry = min(retry * 2, _LONGEST_RETRY)

    async def _recover(self) -> None:
        router, auth = await asyncio.gather(self._router.publisher.recover(), self._auth.publisher.recover())
        self._in_force = {account.name: account for account in router.accounts}
        if self._router.publisher.version:
            self._router.published.take(self._router.publisher.version, judging.entries(router))
        if self._auth.publisher.version:
            self._auth.published.take(self._auth.publisher.version, judging.auth_entries(auth))
        log.info("catalogs_recovered", router=router.version, auth=auth.version, accounts=len(self._in_force))

    async def _list(self) -> None:
        begun = time.monotonic()
        for kind in WATCHED:
            fields = "type!=helm.sh/release.v1" if kind is SECRET else ""
            self._seen.replace(kind, await self._cluster.list(kind, fields=fields))
        metrics.RESYNC_SECONDS.observe(time.monotonic() - begun)
        self._list_due = time.monotonic() + self._settings.resync_seconds

    async def _check(self) -> None:
        """See whether the API still answers: a watch that brings nothing may be one that is dead."""
        await self._cluster.get_secret(f"{self._settings.router_catalog}-head")

    @staticmethod
    def _words(error: Exception) -> str:
        if isinstance(error, ClusterError):
            return str(error)
        log.error("turn_broken", kind=type(error).__name__, where=logs.where(error))
        return f"a turn ended with {type(error).__name__}"

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            log.warning("turn_failed", reason=reason)
        self._complaint = reason

    # The parts of a turn.

    async def _compile(self, revision: int, reading: Reading, issued: Issued) -> Compiled:
        keys: dict[str, IssuedKey | KeyFailure] = {name: decision.issued for name, decision in issued.decisions.items()}
        mark = (revision, reading.faults, keys)
        if self._compiled is not None and self._compiled[0] == mark:
            return self._compiled[1]
        compiled = await asyncio.to_thread(compile_catalog, reading.resources, options=Options(), keys=keys)
        self._compiled = mark, compiled
        return compiled

    def _choose(self, wanted: RouterCatalog, routers: Fleet) -> dict[str, AccountView]:
        views = {}
        for account in wanted.accounts:
            before = self._in_force.get(account.name)
            proof = self._probing.proof(trial_of(account))
            choice = choose(account, before, proof, in_force_dead=self._dead(before, routers))
            views[account.name] = AccountView(choice.account, account.credential_hash, choice.held_back, proof)
        return views

    def _dead(self, account: Account | None, routers: Fleet) -> bool:
        """Whether the credential in force is known to be of no use any more."""
        if account is None or not account.api_key:
            return False
        sight = sights.account(routers, account.name)
        proof = self._probing.proof(trial_of(account))
        return (sight is not None and sight.reason == "CredentialInvalid") or (
            proof is not None and proof.result == "Refused"
        )

    async def _fit(
        self, compiled: Compiled, views: Mapping[str, AccountView]
    ) -> tuple[RouterCatalog, AuthCatalog, dict[str, Failure]]:
        """Put the credentials that are in force into the catalog, and leave out what is too large for it."""
        held = {name: view.entry for name, view in views.items() if view.held_back}
        if self._fitted is not None and self._fitted[0][0] is compiled and self._fitted[0][1] == held:
            return self._fitted[1:]
        router = compiled.router
        if held:
            accounts = tuple(held.get(account.name, account) for account in router.accounts)
            router = router.model_copy(update={"accounts": accounts})
            router = await asyncio.to_thread(router.sealed)
        failures = {
            status.resource.id: Failure(status.condition, status.reason, status.message)
            for status in compiled.statuses
            if not status.ready
        }
        router, router_out = await self._split(self._router, router)
        auth, auth_out = await self._split(self._auth, compiled.auth)
        for (kind, name), reason in {**router_out, **auth_out}.items():
            failures[f"{_KIND_OF_FIELD[kind]}/{name}"] = Failure(ACCEPTED, "TooLarge", reason)
        self._fitted = (compiled, held), router, auth, failures
        return router, auth, failures

    async def _split(self, catalog: _Catalog, document: Any) -> tuple[Any, dict[tuple[str, str], str]]:
        if catalog.version == document.version and catalog.payloads:
            return document, {}
        fitted, left_out, payloads = await asyncio.to_thread(catalog.publisher.fit, document)
        # A document that does not fit is split anew each time, so that its faults are not forgotten.
        catalog.version, catalog.payloads = fitted.version, payloads
        return fitted, left_out

    async def _publish(self, router: RouterCatalog, auth: AuthCatalog) -> ClusterError | None:
        """Publish what is new; auth comes first: it should know a price before the edges know the model."""
        problem = None
        steps = ((self._auth, auth, judging.auth_entries), (self._router, router, judging.entries))
        for catalog, document, entries_of in steps:
            failed = await self._publish_one(catalog, document, entries_of)
            metrics.CATALOG_UNPUBLISHED.labels(document.kind).set(failed is not None)
            problem = problem or failed
        return problem

    async def _publish_one(
        self, catalog: _Catalog, document: Document, entries_of: Callable[[Any], dict[str, Any]]
    ) -> ClusterError | None:
        if not catalog.publisher.stands(document.version):
            try:
                await catalog.publisher.publish(document.version, catalog.payloads)
            except ClusterError as error:
                return error
        if catalog.published.version != document.version:
            catalog.published.take(document.version, entries_of(document))
            if isinstance(document, RouterCatalog):
                self._in_force = {account.name: account for account in document.accounts}
        return None

    def _probe(self, views: Mapping[str, AccountView], reading: Reading) -> None:
        """Have tried what is wanted, and what is in force where that is something else."""
        wanted: dict[Trial, Account] = {}
        proven: set[Trial] = set()
        compiled = {account.name: account for account in (self._compiled[1].router.accounts if self._compiled else ())}
        generations = {resource.id: resource.generation for resource in reading.resources}
        objects = self._seen.of(CUSTOM[0])
        for name, view in views.items():
            for account in (compiled[name], view.entry):
                if not account.api_key or account.not_served or account.mode == "Disabled":
                    continue
                wanted[trial_of(account)] = account
            status = objects[name].get("status") if name in objects else None
            generation = generations.get(f"UpstreamAccount/{name}", 0)
            if judging.carried(status if isinstance(status, dict) else {}, view, generation) is not None:
                proven.add(trial_of(view.entry))
        self._probing.want(wanted, frozenset(proven))

    def _heard(self, routers: Fleet, auths: Fleet) -> bool:
        """Whether routers and auths have had time to say how things stand: before that, nobody knows."""
        return bool(routers.serving and auths.serving) or time.monotonic() - self._begun >= _HEARING_SECONDS

    def _next(self, issued: Issued, declared: list[APIKey], now: datetime) -> float:
        """Return when time alone changes something: a key's end, or the rest of a long day's work."""
        if issued.more:
            return 0.0
        if issued.failures:
            return _RETRY_SECONDS * 5
        ends = [
            datetime.fromtimestamp(key.spec.expires_at_ms / 1000, UTC)
            for key in declared
            if key.spec.expires_at_ms and key.spec.expires_at_ms < 2**42
        ]
        ends += [decision.next_check for decision in issued.decisions.values() if decision.next_check is not None]
        ahead = [(end - now).total_seconds() for end in ends if end > now]
        unheard = [] if time.monotonic() - self._begun >= _HEARING_SECONDS else [_HEARING_SECONDS]
        return min([*ahead, *unheard, self._settings.resync_seconds]) + 0.05
