"""The router itself: takes in outcomes, demand and catalogs, decides, and tells everybody who watches."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from penstock_chassis import logs
from penstock_router import messages, model_accounts, trials
from penstock_router.conditions import Conditions
from penstock_router.desired import Desired
from penstock_router.lending import Lending
from penstock_router.probing import result
from penstock_router.sessions import Sessions
from penstock_router.stores import StoreDown
from penstock_router.telling import Telling
from penstock_router.watching import Watchers
from penstock_routing import Pool, Traits
from penstock_routing import outcomes as classes
from penstock_routing.condition import Phase
from penstock_routing.shares import Demand, Offer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock.router.v1 import router_pb2
    from penstock_router.clock import StoreClock
    from penstock_router.metrics import Metrics
    from penstock_router.probing import Prober
    from penstock_router.sessions import EdgeSession
    from penstock_router.settings import RouterSettings
    from penstock_router.stores import StateStore
    from penstock_router.watching import Watcher
    from penstock_routing import AccountFacts, Policy
    from penstock_routing.candidates import Candidate
    from penstock_routing.health import Key
    from penstock_routing.outcomes import Outcome

_log = logs.get(__name__)

_GOOD: Final = frozenset({classes.OK, classes.BEGUN})
_SHORTEST_TURN: Final = 0.01
_KEEP_EVERY_SECONDS: Final = 60.0


class Router:
    """State and decisions of one router process. One event loop owns it; only `turn` and probes wait for anything."""

    def __init__(
        self,
        settings: RouterSettings,
        policy: Policy,
        store: StateStore,
        clock: StoreClock,
        prober: Prober,
        metrics: Metrics,
        *,
        learning_until: float = float("-inf"),
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.desired = Desired()
        self.sessions = Sessions(settings.max_sessions)
        self.watchers = Watchers(settings.watch_queue)
        self.conditions = Conditions(store, policy)
        self.lending = Lending(store, silent_seconds=settings.session_silent_seconds, learning_until=learning_until)
        self.telling = Telling(self.lending)
        self._settings = settings
        self._store = store
        self._prober = prober
        self._metrics = metrics
        metrics.model_accounts.read = lambda: model_accounts.count(self.desired.accounts.values(), self.telling.words)
        self._pool = Pool(policy)
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._store_up = True
        self._exchanging = asyncio.Lock()
        self._exchanges_begun = 0
        self._exchanges_done = 0
        self._kept_at = clock.now()
        self._closed = False

    @property
    def loaded(self) -> bool:
        """A catalog is in force."""
        return bool(self.desired.version)

    # What comes in.

    def load(self, desired: Desired) -> None:
        """Put a catalog in force, all of it at once. New credentials get their chance, and a probe, at once."""
        now = self.clock.now()
        before, self.desired = self.desired, desired
        self.conditions.keep(desired.served, now)
        self.sessions.forget(before.accounts.keys() - desired.accounts.keys())
        self._pool.load(desired.accounts.values(), now)
        for name, facts in desired.accounts.items():
            old = before.accounts.get(name)
            if old is not None and old.credential_hash != facts.credential_hash:
                self.conditions.changed(self.conditions.health.credential_changed(name, now))
                self.probe(name)
        self._metrics.catalog.clear()
        self._metrics.catalog.labels(desired.version).set(1)
        for watcher in self.watchers:
            watcher.renew()
        self.publish()
        self._wake.set()
        _log.info("catalog_loaded", version=desired.version, accounts=len(desired.accounts))

    async def watch(self, request: router_pb2.WatchRequest) -> Watcher:
        """Begin a stream. The session's share is settled first, so that its snapshot has it."""
        now = self.clock.now()
        declared = {held.account: Offer(held.version, messages.share(held.share)) for held in request.shares}
        session = self.sessions.join(request.edge_session, request.edge, declared, now)
        session.watches += 1
        watcher = self.watchers.add(request.edge_session)
        self._metrics.watchers.set(len(self.watchers))
        self._metrics.sessions.set(len(self.sessions))
        try:
            await self._exchange()
        except BaseException:
            self.unwatch(watcher)
            raise
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """End a stream."""
        self.watchers.remove(watcher)
        self.sessions.part(watcher.session, self.clock.now())
        self._metrics.watchers.set(len(self.watchers))
        self._wake.set()

    def report(self, request: router_pb2.ReportRequest) -> bool:
        """Take in a report, once; True when the session has to watch anew because it is not known here."""
        now = self.clock.now()
        known = self.sessions.get(request.edge_session)
        session = self.sessions.known(request.edge_session, now)
        if request.final:
            self.sessions.end(request.edge_session)
        if request.seq <= session.seq:
            self._metrics.reports.labels("repeated").inc()
        else:
            session.seq = request.seq
            self._metrics.reports.labels("taken").inc()
            self._take_outcomes(request.outcomes, now)
        self._take_demand(session, request)
        self.publish()
        return (known is None or not known.watches) and not request.final

    def _take_outcomes(self, outcomes: Iterable[router_pb2.Outcome], now: float) -> None:
        """Take in outcomes. A success, as nearly all are, says nothing new of an account that nothing is wrong with."""
        accounts, effects = self.desired.accounts, self.policy.effects
        unwell = {key.account for key in self.conditions.health.conditions}
        counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        for row in outcomes:
            account, cls = row.account, getattr(row, "class")
            facts = accounts.get(account)
            if facts is None or row.model not in facts.models:
                continue
            counts[account, cls if cls in effects else "Unknown"] += 1
            if cls not in _GOOD or account in unwell:
                self._observe(messages.outcome(row, now), now)
                unwell.add(account)
        for (account, cls), count in counts.items():
            self._metrics.outcomes.labels(account, cls).inc(count)

    def _observe(self, outcome: Outcome, now: float) -> None:
        changed = self.conditions.health.observe(outcome, now)
        self.conditions.changed(changed)
        for key in changed:
            condition = self.conditions.health.conditions[key]
            if condition.phase(now) is Phase.COOLING:
                cls = condition.cls
                self._metrics.cooldowns_begun.labels(key.account, cls).inc()
                _log.info("cooldown", account=key.account, model=key.model, operation=key.operation, cls=cls)

    def _take_demand(self, session: EdgeSession, request: router_pb2.ReportRequest) -> None:
        session.catalog_version = request.catalog_version
        for row in request.demand:
            if row.account not in self.desired.accounts:
                continue
            session.in_flight[row.account] = row.slots_in_use
            demand = Demand(
                max(row.slots_wanted, row.slots_in_use, 0),
                max(row.requests_per_minute, 0),
                max(row.tokens_per_minute, 0),
            )
            if session.acknowledged.get(row.account) != row.share_version:
                self._wake.set()
            if demand.slots > session.demand.get(row.account, Demand()).slots:
                self._wake.set()
            self.sessions.want(session, row.account, demand)
            self.sessions.acknowledge(session, row.account, row.share_version)

    # What goes out.

    def publish(self) -> None:
        """Tell watchers of every condition that is not as they were last told."""
        changed = self.telling.find_words(self.conditions.health, self.desired, self.policy, self.clock.now())
        if not changed:
            return
        for watcher in self.watchers:
            self._told(watcher.changed(keys=changed))
        self._metrics.cooldowns.clear()
        for key, said in self.telling.words.items():
            self._metrics.cooldowns.labels(key.account, said.cls).inc()
        self._wake.set()

    def _told(self, kept_up: bool) -> None:
        if not kept_up:
            self._metrics.resnapshots.inc()

    def updates(self, watcher: Watcher) -> Iterable[router_pb2.Update]:
        """Return what a watcher has not been told yet, and count it as told."""
        return self.telling.updates(watcher, self.desired, self.clock.now())

    def explain(self, traits: Traits) -> tuple[list[Candidate], float]:
        """Explain by the code that picks; the seconds until the first candidate may be back (0: there is one)."""
        now = self.clock.now()
        self._pool.router_seen(now)
        self._pool.set_cooldowns([messages.cooldown(key, said, now) for key, said in self.telling.words.items()], now)
        present = self.sessions.present(now)
        for name in self.desired.accounts:
            self._pool.assume_load(name, sum(session.in_flight.get(name, 0) for session in present))
        candidates = self._pool.explain(traits, now)
        soonest = 0.0 if any(row.eligible for row in candidates) else self._pool.soonest(traits, now)
        return candidates, soonest

    # What happens by itself.

    async def run(self) -> None:
        """Turn until `close`: as soon as there is a reason, and every `sync_seconds`."""
        while not self._closed:
            await self.turn()
            await self._pause()

    async def turn(self) -> None:
        """Do everything that is due."""
        now = self.clock.now()
        silent = self.sessions.expire(now, self._settings.session_silent_seconds)
        if not self._store.shared:
            # With a shared store it may speak to another router; its share ends when none has heard of it.
            self.sessions.ended.update(silent)
        self._metrics.sessions.set(len(self.sessions))
        if self.loaded and now - self._kept_at > _KEEP_EVERY_SECONDS:
            self._kept_at = now
            self.conditions.keep(self.desired.served, now)
        await self._exchange()
        await self._offer_trials()
        self.publish()
        for account in self.conditions.health.due_probes(self.clock.now()):
            self.probe(account)

    async def _pause(self) -> None:
        now = self.clock.now()
        due = min(self._settings.sync_seconds, self.conditions.health.soonest(now) - now)
        try:
            async with asyncio.timeout(max(due, _SHORTEST_TURN)):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()
        await asyncio.sleep(_SHORTEST_TURN)

    async def _exchange(self) -> None:
        """Exchange state with the store; without it the router goes on from memory, and says so.

        One exchange will do for all who asked before it began: edges come in crowds when a router is new.
        """
        asked_at = self._exchanges_begun
        async with self._exchanging:
            if self._exchanges_done > asked_at:
                return
            await asyncio.sleep(0)
            self._exchanges_begun = number = self._exchanges_begun + 1
            await self._exchange_alone()
            self._exchanges_done = number

    async def _exchange_alone(self) -> None:
        try:
            conflicts = await self.conditions.sync(self.clock.now())
            self._metrics.store_conflicts.labels("conditions").inc(conflicts)
            if self._store.shared and self.conditions.read_at is not None:
                self.clock.adjust(self.conditions.read_at)
            if self.loaded:  # Before that, every account would look like one that is gone.
                conflicts = await self.lending.sync(self.desired, self.sessions, self.clock.now())
                self._metrics.store_conflicts.labels("shares").inc(conflicts)
        except StoreDown as error:
            self._store_failed(error)
            return
        if not self._store_up:
            _log.info("store_back", store=self._store.name)
        self._store_up = True
        self._metrics.store_up.labels(self._store.name).set(1)
        watchers = tuple(self.watchers)
        for account in self.lending.changed():
            book = self.lending.books.get(account)
            if book is None:
                self._metrics.share_slots.remove(account)
                self._metrics.share_requests.remove(account)
                continue
            slots, requests = self.lending.lent(account)
            self._metrics.share_slots.labels(account).set(slots)
            self._metrics.share_requests.labels(account).set(requests)
            for watcher in watchers:
                holding = book.holdings.get(watcher.session)
                if holding is not None and watcher.sent_shares.get(account) != holding.newest().version:
                    self._told(watcher.changed(accounts=[account]))

    def _store_failed(self, error: StoreDown) -> None:
        self._metrics.store_failures.labels(self._store.name).inc()
        self._metrics.store_up.labels(self._store.name).set(0)
        if self._store_up:
            _log.warning("store_down", store=self._store.name, error=str(error), going_on_from="memory")
        self._store_up = False

    async def _offer_trials(self) -> None:
        """Give each half-open return to one session."""
        now = self.clock.now()
        watching = [session for session in self.sessions if session.watches]
        keys = self.conditions.health.waiting(now)
        for key in keys + [key for key in trials.unused(self.telling.words, self.sessions, now) if key not in keys]:
            chosen = trials.fittest(key.account, watching) if key.account in self.desired.accounts else None
            if chosen is None:
                continue
            if await self._offer_trial(key, chosen.name, now + trials.seconds_for(chosen, self.policy), now):
                chosen.offered_at = now

    async def _offer_trial(self, key: Key, session: str, until: float, now: float) -> bool:
        # A store that is down is asked once in a turn, by the exchange: each of its silences takes a whole deadline.
        if self._store_up:
            try:
                return await self.conditions.offer(key, session, until, now)
            except StoreDown as error:
                self._store_failed(error)
        # Better two trials than none while routers cannot agree.
        self.conditions.changed([key])
        return self.conditions.health.offer_trial(key, session, until, now)

    def probe(self, account: str) -> None:
        """Probe an account in the background, unless that is under way."""
        if account in self._probing or account not in self.desired.accounts:
            return
        task = asyncio.create_task(self._probe(account), name=f"probe-{account}")
        self._probing[account] = task
        task.add_done_callback(lambda _: self._probing.pop(account, None))

    async def _probe(self, account: str) -> None:
        facts = self.desired.accounts[account]
        status = await self._prober.status(facts)
        now = self.desired.accounts.get(account)
        if now is None or now.credential_hash != facts.credential_hash:
            return  # What it says is of a credential that is no longer used.
        self._metrics.probes.labels(account, result(status)).inc()
        _log.info("probed", account=account, status=status)
        self.conditions.changed(self.conditions.health.probed(account, status=status, now=self.clock.now()))
        self.publish()
        self._wake.set()

    async def try_credential(self, facts: AccountFacts) -> int:
        """Probe with any credential. What is learned of the one in force counts, as that of every probe does."""
        status = await self._prober.status(facts)
        now = self.desired.accounts.get(facts.name)
        if now is not None and (now.api_key, now.base_url) == (facts.api_key, facts.base_url):
            self._metrics.probes.labels(facts.name, result(status)).inc()
            self.conditions.changed(self.conditions.health.probed(facts.name, status=status, now=self.clock.now()))
            self.publish()
            self._wake.set()
        _log.info("credential_tried", account=facts.name, status=status)
        return status

    async def close(self) -> None:
        """End turns, streams and probes."""
        self._closed = True
        self._wake.set()
        for watcher in self.watchers:
            watcher.close()
        tasks = list(self._probing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
