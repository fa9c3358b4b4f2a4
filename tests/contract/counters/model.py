"""A small world around a store of counters: edges that spend what they are lent, a ledger, and true time.

It keeps what really happened (by true time) and checks it by brute force against every limit. Nothing in here knows
how a store counts.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from penstock_auth.counters import (
    NOTHING,
    Admission,
    AllowCall,
    AllowResult,
    Amounts,
    Counters,
    Declaration,
    KeyDeclaration,
    Kind,
    LeaseHeld,
    LeaseReturn,
    LedgerRow,
    Limit,
    ProjectHistory,
    Reason,
    Scope,
    SettleEffect,
    Unit,
    Versioned,
)

START_MS = 1_800_000_000_000
PROJECT = "p1"
KEYS = ("k1", "k2")
KEY_RPM = Limit("key-rpm", Unit.REQUESTS, 8, 6_000)
KEY_SLOW = Limit("key-slow", Unit.REQUESTS, 60, 120_000)  # long enough to outlast the wait for lost sessions
PROJECT_RPM = Limit("project-rpm", Unit.REQUESTS, 12, 12_000, Scope.PROJECT)
KEY_TOKENS = Limit("key-tokens", Unit.TOTAL_TOKENS, 100, 6_000)
PROJECT_INPUT = Limit("project-input", Unit.INPUT_TOKENS, 90, 12_000, Scope.PROJECT)
PROJECT_COST = Limit("project-cost", Unit.COST, 60, 12_000, Scope.PROJECT)
LIMITS = (KEY_RPM, KEY_SLOW, PROJECT_RPM, KEY_TOKENS, PROJECT_INPUT, PROJECT_COST)
MAX_SLOTS = 3
CREDIT = 400
HEARTBEAT_MS = 5_000
NO_NEW_HOLD_MS = 20_000
SILENCE_MS = 30_000
LATEST_MS = 15_000  # how late a message may come


@dataclass
class Lease:
    id: str
    key: str
    kind: Kind
    unspent: int
    spent: int
    expires: int  # true time


@dataclass
class Request:
    """A request as it really happened.

    `slack`: it ran on while its edge was cut off for too long, as is allowed. `forgotten`: a count_tokens call, which
    has no ledger row, of an edge that died before it could tell of it after a loss of the store.
    """

    id: str
    key: str
    kind: Kind
    session: str
    at: int  # true time
    admitted_ms: int  # the store's clock, as its edge knew it
    hold: Amounts
    actual: Amounts
    open: bool = True
    committed: bool = False
    acknowledged: bool = False
    slack: bool = False
    forgotten: bool = False

    def usage(self) -> Amounts:
        return self.hold if self.open else self.actual


@dataclass
class Edge:
    session: str
    epoch: str = ""
    in_step: bool = False
    seqs: dict[str, int] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    returns: dict[str, dict[str, int]] = field(default_factory=dict)
    holding: dict[str, Amounts] = field(default_factory=dict)
    spare_until: dict[str, int] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    offset: int = 0  # the store's clock minus true time, never early
    reached: int = 0
    beat: int = 0
    cut_off: bool = False
    losses: int = 0  # of the store, that it has declared itself after

    def of(self, key: str) -> list[Request]:
        return [r for r in self.requests if r.key == key]

    def keeping(self, key: str) -> Amounts:
        mine = [r for r in self.of(key) if not r.acknowledged]
        return Amounts(
            sum(1 for r in mine if r.open and r.kind is Kind.REQUESTS),
            sum(r.hold.input_tokens for r in mine),
            sum(r.hold.output_tokens for r in mine),
            sum(r.hold.micro_usd for r in mine),
        )


class World:
    """Everything but the store: `store` is put in by the test, `calls` to it are awaited."""

    def __init__(self) -> None:
        self.now = 0
        self.step = 0  # of the store's clock
        self.store: Counters
        self.edges: list[Edge] = []
        self.names = 0
        self.rows: list[LedgerRow] = []
        self.unclean: set[str] = set()
        self.happened: list[Request] = []
        self.dead: list[Edge] = []
        self.sent: list[tuple[int, AllowCall]] = []
        self.declared: list[tuple[int, Declaration]] = []
        self.balances = [Versioned(CREDIT, 0)]
        self.stale_from = 0  # balances read before a loss of the store are not used after it
        self.grants = 0
        self.losses = 0

    # What a store sees of it.

    def clock(self) -> int:
        return START_MS + self.now + self.step

    async def unclean_sessions(self) -> frozenset[str]:
        return frozenset(self.unclean)

    async def history(self, project: str) -> ProjectHistory:
        return ProjectHistory(list(self.rows), dict.fromkeys(KEYS, LIMITS))

    # Time.

    async def pass_ms(self, ms: int) -> None:
        while ms > 0:
            step = min(ms, 1_000)
            self.now += step
            ms -= step
            for edge in self.edges:
                if not edge.cut_off and self.now - edge.beat >= HEARTBEAT_MS:
                    await self.heartbeat(edge)
                if self.now - edge.reached > SILENCE_MS:
                    self.give_slack(edge)

    def give_slack(self, edge: Edge) -> None:
        for request in edge.requests:
            if not request.acknowledged:
                request.slack = True

    def lost_memory(self) -> None:
        """Note that the store has forgotten everything."""
        self.losses += 1
        self.stale_from = len(self.balances) - 1
        living = {edge.session for edge in self.edges}
        for request in self.happened:
            if request.kind is Kind.COUNT_TOKENS and request.session not in living:
                request.forgotten = True

    # Edges.

    async def start(self) -> Edge:
        self.names += 1
        edge = Edge(f"edge-{self.names}", reached=self.now)
        self.unclean.add(edge.session)  # SQL knows it before it is lent anything
        self.edges.append(edge)
        await self.heartbeat(edge)
        await self.declare(edge)
        return edge

    async def heartbeat(self, edge: Edge) -> None:
        edge.beat = self.now
        heard = await self.store.touch_session(edge.session)
        self.reach(edge, heard.epoch, heard.store_time_ms, self.now)
        if heard.declare_again:
            edge.in_step = False
            await self.declare(edge)

    def reach(self, edge: Edge, epoch: str, store_ms: int, sent: int) -> None:
        edge.reached = self.now
        edge.offset = store_ms - sent
        if epoch != edge.epoch:
            edge.epoch = epoch
            edge.in_step = False

    async def declare(self, edge: Edge, *, answered: bool = True) -> None:
        """Declare all that the edge has; its unanswered questions are given up by that."""
        if edge.in_step:
            return
        told = Declaration(edge.session, edge.epoch, complete=True, keys=tuple(self.belongings(edge, k) for k in KEYS))
        self.declared.append((self.now, told))
        heard = await self.store.declare(told)
        if heard.epoch == edge.epoch and not heard.declare_again:
            edge.losses = self.losses
        if answered and heard.epoch == edge.epoch and not heard.declare_again:
            edge.in_step = True

    def belongings(self, edge: Edge, key: str) -> KeyDeclaration:
        usable = edge.holding.get(key, NOTHING) if self.now < edge.spare_until.get(key, 0) else NOTHING
        keeping = edge.keeping(key)
        most = Amounts(*(max(a, b) for a, b in zip(_tuple(usable), _tuple(keeping), strict=True)))
        return KeyDeclaration(
            PROJECT,
            key,
            LIMITS,
            most,
            tuple(
                LeaseHeld(lease.id, lease.unspent, lease.expires - self.now, lease.kind)
                for lease in edge.leases
                if lease.key == key and lease.expires > self.now and lease.unspent
            ),
            tuple(
                Admission(r.admitted_ms, 1, r.kind)
                for r in edge.of(key)
                if r.kind is Kind.COUNT_TOKENS or not r.acknowledged
            ),
        )

    def compose(self, edge: Edge, key: str, kind: Kind, *, early: bool, stale: int, **asks: object) -> AllowCall:
        """Make the edge's next call. From here on it has no more than `keeping`, and none of the leases returned."""
        edge.seqs[key] = edge.seqs.get(key, 0) + 1
        over = [
            lease
            for lease in edge.leases
            if lease.key == key and (early or not lease.unspent or lease.expires <= self.now)
        ]
        edge.leases = [lease for lease in edge.leases if lease not in over]
        returns = edge.returns.setdefault(key, {})
        returns.update({lease.id: lease.spent for lease in over})
        keeping = edge.keeping(key)
        edge.holding[key] = keeping
        known = self.balances[max(self.stale_from, len(self.balances) - 1 - stale)]
        base = AllowCall(
            PROJECT,
            key,
            edge.session,
            edge.seqs[key],
            kind,
            keeping=keeping,
            returned=tuple(LeaseReturn(i, spent) for i, spent in returns.items()),
            epoch=edge.epoch,
            limits=LIMITS,
            max_slots=MAX_SLOTS,
            credit=known,
        )
        call = dataclasses.replace(base, **asks)  # type: ignore[arg-type]  # fields of AllowCall
        self.sent.append((self.now, call))
        return call

    def take_in(self, edge: Edge, call: AllowCall, result: AllowResult, sent: int) -> None:
        """Let the edge hear an answer to its newest call."""
        current = result.epoch == call.epoch
        self.reach(edge, result.epoch, result.store_time_ms, sent)
        if not current or not edge.in_step or call.seq != edge.seqs[call.key]:
            return
        if result.denial is not None:
            if result.denial.reason is not Reason.RECOVERING:
                edge.returns[call.key] = {}
            return
        edge.returns[call.key] = {}
        grant = result.grant
        assert grant is not None
        self.grants += 1
        if grant.requests:
            lease = Lease(grant.lease_id, call.key, call.kind, grant.requests, 0, sent + grant.life_ms)
            edge.leases.append(lease)
        edge.holding[call.key] = grant.holding
        edge.spare_until[call.key] = sent + grant.life_ms

    def open(self, edge: Edge, key: str, kind: Kind, hold: Amounts) -> Request | None:
        """Admit a request if the edge has all that it takes."""
        lease = next(
            (x for x in edge.leases if x.key == key and x.kind is kind and x.unspent and self.now < x.expires), None
        )
        if lease is None:
            return None
        slot = Amounts(slots=1 if kind is Kind.REQUESTS and hold is not NOTHING else 0)
        if hold is not NOTHING:
            need = [a + b for a, b in zip(_tuple(hold), _tuple(slot), strict=True)]
            has = _tuple(edge.holding.get(key, NOTHING))
            left = [a - b for a, b in zip(has, _tuple(edge.keeping(key)), strict=True)]
            fresh = self.now < edge.spare_until.get(key, 0) and self.now - edge.reached <= NO_NEW_HOLD_MS
            if not fresh or any(n > x for n, x in zip(need, left, strict=True)):
                return None
        lease.unspent -= 1
        lease.spent += 1
        self.names += 1
        request = Request(f"req_{self.names}", key, kind, edge.session, self.now, self.now + edge.offset, hold, NOTHING)
        if hold is NOTHING:
            request.open = False
        edge.requests.append(request)
        self.happened.append(request)
        self.check()
        return request

    def close(self, request: Request, percent: int) -> None:
        request.open = False
        request.actual = Amounts(0, *(amount * percent // 100 for amount in _tuple(request.hold)[1:]))

    async def settle(self, requests: list[Request], *, applied: bool, acknowledged: bool) -> None:
        """Commit rows, apply their effects unless auth dies first, acknowledge them unless the answer is lost."""
        effects = []
        for request in requests:
            used = request.actual
            if not request.committed:
                request.committed = True
                before = self.balances[-1]
                self.balances.append(Versioned(before.micro_usd - used.micro_usd, before.version + 1))
                self.rows.append(
                    LedgerRow(
                        request.key,
                        request.admitted_ms,
                        1,
                        used.input_tokens,
                        used.output_tokens,
                        used.micro_usd,
                        request.id,
                    )
                )
            effects.append(
                SettleEffect(
                    PROJECT,
                    request.key,
                    request.session,
                    request.id,
                    request.admitted_ms,
                    used.input_tokens,
                    used.output_tokens,
                    used.micro_usd,
                    LIMITS,
                    self.balances[-1],
                )
            )
        if applied:
            await self.store.settle(effects)
            for request in requests:
                request.acknowledged = request.acknowledged or acknowledged

    def crash(self, edge: Edge) -> None:
        """Kill the edge: its streams end, and only its spool is left."""
        self.edges.remove(edge)
        self.dead.append(edge)
        for request in edge.requests:
            if edge.losses < self.losses and request.kind is Kind.COUNT_TOKENS:
                request.forgotten = True
            if request.open:
                self.close(request, 0)

    async def replay(self, edge: Edge) -> None:
        """Settle what a dead edge's spool holds, and end its session."""
        self.dead.remove(edge)
        left = [r for r in edge.requests if not r.acknowledged and r.kind is Kind.REQUESTS]
        await self.settle(left, applied=True, acknowledged=True)
        await self.store.end_session(edge.session)
        self.unclean.discard(edge.session)

    async def mark_lost(self) -> None:
        """Do as auth does: mark in SQL the sessions that never spoke up."""
        for session in (await self.store.epoch()).lost:
            self.unclean.discard(session)
            self.dead = [edge for edge in self.dead if edge.session != session]

    # What must never happen.

    def check(self) -> None:
        """Compare what really happened up to now with every limit."""
        for limit in LIMITS:
            for owner in KEYS if limit.scope is Scope.KEY else (None,):
                for kind in Kind:
                    used = self.used(limit, owner, kind)
                    assert used <= limit.amount, (limit.name, owner, kind, used, self.now)
        for key in KEYS:
            running = [r for r in self.happened if r.key == key and _has_slot(r) and not r.slack]
            assert len(running) <= MAX_SLOTS, (key, len(running), self.now)
        owed = sum(r.usage().micro_usd for r in self.happened if not r.slack)
        assert owed <= CREDIT, (owed, self.now)

    def used(self, limit: Limit, key: str | None, kind: Kind) -> int:
        recent = [
            r
            for r in self.happened
            if r.at > self.now - limit.window_ms and (key is None or r.key == key) and r.kind is kind
        ]
        if limit.unit is Unit.REQUESTS:
            return sum(1 for r in recent if not r.forgotten)
        counted = [r.usage() for r in recent if not r.slack]
        if limit.unit is Unit.COST:
            return sum(u.micro_usd for u in counted)
        output = limit.unit is Unit.TOTAL_TOKENS
        return sum(u.input_tokens + (u.output_tokens if output else 0) for u in counted)


def _has_slot(request: Request) -> bool:
    return request.open and request.kind is Kind.REQUESTS


def _tuple(amounts: Amounts) -> tuple[int, int, int, int]:
    return (amounts.slots, amounts.input_tokens, amounts.output_tokens, amounts.micro_usd)
