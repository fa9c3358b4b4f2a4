"""The counters of one project in memory: windows, leases, holdings, answers and turns, changed one call at a time.

`lua/allow.lua`, `settle.lua`, `declare.lua` and `rebuild.lua` do to hashes what this does to objects. All times are ms
of the store's clock and come in; there is no I/O here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from penstock_auth import allowances, recounting
from penstock_auth.allowances import PROJECT, Fill, Refused
from penstock_auth.book_entries import Answer, Decided, Lease, ahead_of, fill_up, larger, turn_name
from penstock_auth.counters import Amounts, Denial, Grant, Kind, LimitState, Reason, Unit
from penstock_auth.recovery import SILENCE_MS
from penstock_auth.settled_ids import SettledIds
from penstock_auth.turns import GRACE_MS as TURN_GRACE_MS
from penstock_auth.turns import Turn, Turns
from penstock_auth.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from penstock_auth.allowances import Bound, Lent, Vector
    from penstock_auth.book_entries import Circumstances
    from penstock_auth.counters import (
        AllowCall,
        KeyDeclaration,
        LedgerRow,
        Limit,
        ProjectHistory,
        SettleEffect,
        Versioned,
    )

SWEEP_MS: Final = 1_000
REMEMBER_ANSWER_MS: Final = 900_000
IDLE_MS: Final = 86_400_000
MOST_LEASES: Final = 64  # of one key, before those that ended long ago are forgotten
_ZERO: Final = (0, 0, 0, 0, 0)


@dataclass(slots=True)
class Books:
    """All counters of one project."""

    settled: SettledIds = field(default_factory=SettledIds)  # of all projects together
    rebuilt: bool = False
    used_at: int = 0
    _windows: dict[str, Window] = field(default_factory=dict)
    _leases: dict[str, dict[str, Lease]] = field(default_factory=dict)
    _held: dict[str, Vector] = field(default_factory=dict)  # by owner
    _holdings: dict[tuple[str, str], Vector] = field(default_factory=dict)  # by session and key
    _answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)
    _facts: dict[str, tuple[int, int]] = field(default_factory=dict)  # by owner: version, micro-USD
    _turns: Turns = field(default_factory=Turns)
    _shapes: dict[str, str] = field(default_factory=dict)  # by key
    _joined_at: dict[str, int] = field(default_factory=dict)  # when counters of requests began from the ledger
    _lent: recounting.Lent = field(default_factory=recounting.Lent)  # what was lent then
    _swept: int = 0

    def allow(self, call: AllowCall, around: Circumstances) -> Decided:
        """Decide one call."""
        now = self.used_at = max(self.used_at, around.now)
        dropped = self._sweep(call.session, around)
        again = self._replay(call, now)
        if again is not None:
            return replace(again, dropped=dropped)
        for back in call.returned:
            self._return(call.key, back.lease_id, back.spent, now)
        keeping = allowances.vector(0, call.keeping)
        self._hold(call.session, call.key, keeping)
        self._seen[call.session] = now
        found = allowances.bounds(call)
        fills = self._fills(call, found, around)
        verdict = self._verdict(call, fills, around)
        if isinstance(verdict, Refused):
            decided = Decided(None, self._deny(call, fills, verdict, now), self._states(found, now), dropped)
        else:
            decided = Decided(self._grant(call, keeping, verdict, now), None, self._states(found, now), dropped)
        self._answers[call.session, call.key] = Answer(
            call.seq, now, replace(decided, dropped=()) if dropped else decided
        )
        return decided

    def settle(self, effects: Sequence[SettleEffect], now: int, *, absent: bool) -> None:
        """Apply committed rows of one key of one session, under the same limits.

        `absent`: their session has not declared, so nobody counts their admissions yet.
        """
        now = self.used_at = max(self.used_at, now)
        first = effects[0]
        self._learn_from(effects)
        if self.rebuilt:
            told = recounting.shape_of(first.limits)
            self._shapes[first.key] = recounting.after_settling(self._shapes.get(first.key), told)
        news = [effect for effect in effects if self.settled.add(effect.request_id, effect.admitted_at_ms, now)]
        times = [min(effect.admitted_at_ms, now) for effect in news]
        for window, (_, _, of_input, of_output, of_cost) in self._usage_windows(first.limits, first.key, now):
            used = [
                of_input * effect.input_tokens + of_output * effect.output_tokens + of_cost * effect.micro_usd
                for effect in news
            ]
            window.add_all(times, used)
        if absent:
            for at in times:
                self._count_requests(first.limits, first.key, "requests", at, 1, now)
        elif self._joined_at:
            self._count_open(first.limits, news, now)

    def _count_open(self, limits: Sequence[Limit], news: Sequence[SettleEffect], now: int) -> None:
        """Count requests that were open, under no lease, when the windows they go to began."""
        for effect in news:
            key, session, at = effect.key, effect.session, effect.admitted_at_ms
            for name, window_ms in recounting.request_counters(limits, key):
                if at < self._joined_at.get(name, 0) and self._lent.lease_of(key, session, at) is None:
                    self._window(name, window_ms, now).add(at, 1)

    def _learn_from(self, effects: Sequence[SettleEffect]) -> None:
        """Take in what rows of one key know of its project's balance and of its spend; most know the same."""
        balance = spent = None
        for effect in effects:
            if effect.balance is not balance and effect.balance is not None:
                balance = effect.balance
                self._learn(PROJECT, balance)
            if effect.spent is not spent and effect.spent is not None:
                spent = effect.spent
                self._learn(allowances.budget_of(effect.key), spent)

    def declare(self, session: str, told: KeyDeclaration, now: int, *, first: bool) -> None:
        """Take in what a session has of a key; it never lowers what is known.

        `first`: the session speaks for the first time in this epoch, so its leases and admissions are news.
        """
        now = self.used_at = max(self.used_at, now)
        known = self._holdings.get((session, told.key), _ZERO)
        declared = allowances.vector(0, told.holding)
        self._hold(session, told.key, larger(known, declared))
        self._seen[session] = now
        if not first:
            return
        leases = self._leases.setdefault(told.key, {})
        for lease in told.leases:
            if lease.lease_id not in leases and lease.unspent > 0:
                expiry = now + max(0, min(lease.expires_in_ms, allowances.FAR_MS))
                counters = self._count_requests(told.limits, told.key, lease.kind.value, expiry, lease.unspent, now)
                leases[lease.lease_id] = Lease(lease.unspent, expiry, counters, lease.kind.value, now)
        for admission in told.admissions:
            at = min(admission.admitted_at_ms, now)
            self._count_requests(told.limits, told.key, admission.kind.value, at, admission.requests, now)

    def rebuild(self, history: ProjectHistory, now: int) -> None:
        """Count the ledger's rows, once; those that were settled meanwhile are counted already."""
        if self.rebuilt:
            return
        self.rebuilt = True
        self.recount(history.rows, history.limits, now)
        self._shapes = {key: recounting.shape_of(limits) for key, limits in history.limits.items()}

    def counts(self, key: str, limits: tuple[Limit, ...]) -> bool:
        """Say whether every window of a key's limits has what the key has used; of a new key each has."""
        known, wanted = self._shapes.get(key), recounting.shape_of(limits)
        if known == wanted:
            return True
        if known is not None and not recounting.has_all(known, wanted):
            return False
        self._shapes[key] = wanted
        return True

    def replace(self, counted: Books, history: ProjectHistory, now: int) -> None:
        """Put windows in force that were counted from the ledger alone, and what is lent with them.

        Nothing may have been settled since the ledger was read.
        """
        now = self.used_at = max(self.used_at, now)
        joined = recounting.joined(self._shapes, history.limits)
        for key, limits in history.limits.items():
            for name, _, _ in allowances.usage_counters(limits, key):
                self._take(name, counted)
        for name in joined:
            self._take(name, counted)
        self._joined_at |= dict.fromkeys(joined, now)
        self._lent = self._carry(joined, history.limits, now)
        for _, row in self._lent.rows(history.rows):
            for name, window_ms in recounting.request_counters(history.limits[row.key], row.key):
                if name in joined:
                    self._window(name, window_ms, now).add(min(row.admitted_at_ms, now), -row.requests)
        for row in history.rows:
            if row.request_id:
                self.settled.add(row.request_id, row.admitted_at_ms, now)
        self._shapes = {key: recounting.shape_of(limits) for key, limits in history.limits.items()}

    def _take(self, name: str, counted: Books) -> None:
        window = counted._windows.get(name)
        if window is None:
            self._windows.pop(name, None)
        else:
            self._windows[name] = window

    def _carry(self, joined: set[str], limits_of: Mapping[str, tuple[Limit, ...]], now: int) -> recounting.Lent:
        """Book leases that are out in the windows of requests that their keys have joined; return them."""
        lent = recounting.Lent()
        for key, limits in limits_of.items():
            for lease_id, lease in self._leases.get(key, {}).items():
                for name, window_ms in allowances.lease_counters(limits, key, lease.kind):
                    if name in joined or name not in lease.counters:
                        self._window(name, window_ms, now).add(lease.expiry, lease.requests)
                        lease.counters = (*(each for each in lease.counters if each != name), name)
                if lease.kind == Kind.REQUESTS:
                    lent.add(key, lease_id, lease.granted_at, lease.expiry)
        return lent

    def recount(self, rows: Iterable[LedgerRow], limits_of: Mapping[str, tuple[Limit, ...]], now: int) -> None:
        """Count some of the ledger's rows; one with an id counts once, however often it comes."""
        now = self.used_at = max(self.used_at, now)
        for row in rows:
            # An old one is noted too: whoever asks for it gets it by its admission.
            if row.request_id and not self.settled.add(row.request_id, row.admitted_at_ms, now):
                continue
            limits = limits_of.get(row.key, ())
            at = min(row.admitted_at_ms, now)
            self._count_usage(limits, row.key, at, (row.input_tokens, row.output_tokens, row.micro_usd), now)
            self._count_requests(limits, row.key, "requests", at, row.requests, now)

    def tidy(self, now: int) -> bool:
        """Forget what no longer matters; say whether all of it can go."""
        self._windows = {name: window for name, window in self._windows.items() if not window.idle(now)}
        self._answers = {name: a for name, a in self._answers.items() if a.at > now - REMEMBER_ANSWER_MS}
        self._joined_at = {name: at for name, at in self._joined_at.items() if at > now - IDLE_MS}
        for key in list(self._leases):
            self._prune_leases(key, now)
        return not (self._windows or self._holdings) and self.used_at < now - IDLE_MS

    def _replay(self, call: AllowCall, now: int) -> Decided | None:
        last = self._answers.get((call.session, call.key))
        if last is None or call.seq > last.seq:
            return None
        if call.seq < last.seq:
            return Decided(None, Denial(Reason.STALE))
        if call.session not in self._seen:  # It was dropped since: what it was given then has gone.
            return None
        past = now - last.at
        grant, denial = last.decided.grant, last.decided.denial
        if grant is not None:
            grant = replace(grant, life_ms=max(0, grant.life_ms - past))
        if denial is not None:
            denial = replace(denial, reset_ms=max(0, denial.reset_ms - past), valid_ms=max(0, denial.valid_ms - past))
        return replace(last.decided, grant=grant, denial=denial)

    def _sweep(self, caller: str, around: Circumstances) -> tuple[str, ...]:
        now = self.used_at
        if now < self._swept + SWEEP_MS:
            return ()
        self._swept = now
        silent = {
            session
            for session, seen in self._seen.items()
            if session != caller
            and (session in around.gone or (session not in around.live and seen <= now - SILENCE_MS))
        }
        dropped = set()
        for session, key in [pair for pair in self._holdings if pair[0] in silent]:
            dropped.add(session)
            self._hold(session, key, _ZERO)
        for session in silent:
            del self._seen[session]
        return tuple(sorted(dropped))

    def _return(self, key: str, lease_id: str, spent: int, now: int) -> None:
        lease = self._leases.get(key, {}).pop(lease_id, None)
        if lease is None:
            return
        spent = max(0, min(spent, lease.requests))
        for name in lease.counters:
            window = self._windows.get(name)
            if window is not None:
                window.advance(now)
                window.move(lease.requests, lease.expiry, spent, min(now, lease.expiry))

    def _hold(self, session: str, key: str, amounts: Vector) -> None:
        known = self._holdings.get((session, key), _ZERO)
        if known == amounts:
            return
        for owner in (allowances.budget_of(key), PROJECT):
            total = tuple(t - k + a for t, k, a in zip(self._held.get(owner, _ZERO), known, amounts, strict=True))
            if any(total):
                self._held[owner] = total  # type: ignore[assignment]  # mypy forgets the length
            else:
                self._held.pop(owner, None)
        if any(amounts):
            self._holdings[session, key] = amounts
        else:
            self._holdings.pop((session, key), None)

    def _window(self, name: str, window_ms: int, now: int) -> Window:
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = Window(window_ms)
        window.advance(now)
        return window

    def _count_usage(self, limits: Sequence[Limit], key: str, at: int, used: tuple[int, int, int], now: int) -> None:
        for window, mask in self._usage_windows(limits, key, now):
            window.add(at, allowances.weigh(mask, (0, 0, *used)))

    def _usage_windows(self, limits: Sequence[Limit], key: str, now: int) -> list[tuple[Window, Vector]]:
        """Return the windows that a settlement goes to, each with what it counts."""
        return [
            (self._window(name, window_ms, now), allowances.mask_of(unit))
            for name, window_ms, unit in allowances.usage_counters(limits, key)
        ]

    def _count_requests(
        self, limits: Sequence[Limit], key: str, kind: str, at: int, requests: int, now: int
    ) -> tuple[str, ...]:
        counters = allowances.lease_counters(limits, key, kind)
        for name, window_ms in counters:
            self._window(name, window_ms, now).add(at, requests)
        return tuple(name for name, _ in counters)

    def _learn(self, owner: str, fact: Versioned) -> int:
        """Keep the newest of what was told and what is known, and return it."""
        known = self._facts.get(owner)
        if known is None or fact.version >= known[0]:
            self._facts[owner] = (fact.version, fact.micro_usd)
        return self._facts[owner][1]

    def _fills(self, call: AllowCall, found: list[Bound], around: Circumstances) -> list[Fill]:
        now = self.used_at
        ahead = self._turns.ahead(turn_name(call), now)
        fills = []
        for bound in found:
            held = allowances.weigh(bound.mask, self._held.get(bound.owner, _ZERO))
            settled = 0
            if bound.window_ms:
                window = self._window(bound.counter, bound.window_ms, now)
                if bound.unit is Unit.REQUESTS:
                    fill_up(window, bound.amount, around.full_at_ms)
                settled = window.total
            elif bound.reason is Reason.SPEND_LIMIT and call.spend_limit is not None:
                settled = self._learn(bound.owner, call.spend_limit.spent)
            elif bound.reason is Reason.CREDIT and call.credit is not None:
                bound = bound._replace(amount=self._learn(PROJECT, call.credit))  # noqa: PLW2901 - the newest balance is the amount
            fills.append(Fill(bound, settled, held, ahead_of(ahead, bound, call)))
        return fills

    def _verdict(self, call: AllowCall, fills: list[Fill], around: Circumstances) -> Lent | Refused:
        need = allowances.vector(call.need_requests, call.need)
        more = allowances.vector(call.want_requests, call.want)

        def reset(index: int, short: int) -> int | None:
            bound = fills[index].bound
            return self._window(bound.counter, bound.window_ms, self.used_at).reset_ms(short, self.used_at)

        return allowances.decide(
            fills,
            need,
            more,
            edges=around.edges,
            recovering=around.recovering,
            strict=call.strict,
            reset=reset,
        )

    def _deny(self, call: AllowCall, fills: list[Fill], verdict: Refused, now: int) -> Denial:
        name = turn_name(call)
        if verdict.reason in (Reason.REQUESTS, Reason.CONCURRENCY) and verdict.reset_ms:
            until = now + verdict.valid_ms + TURN_GRACE_MS
            budget = allowances.budget_of(call.key)
            turn = Turn(budget, call.kind.value, now, until, call.need_requests, call.need.slots)
            self._turns.wait(name, turn, now)
        else:
            self._turns.done(name)
        bound = fills[verdict.place].bound
        return Denial(verdict.reason, bound.name, bound.unit.value, bound.amount, verdict.reset_ms, verdict.valid_ms)

    def _grant(self, call: AllowCall, keeping: Vector, lent: Lent, now: int) -> Grant:
        self._turns.done(turn_name(call))
        requests = lent.granted[0]
        lease_id = ""
        if requests:
            lease_id = f"{call.session}/{call.seq}"
            expiry = now + lent.life_ms
            counters = self._count_requests(call.limits, call.key, call.kind.value, expiry, requests, now)
            if counters:
                leases = self._leases.setdefault(call.key, {})
                leases[lease_id] = Lease(requests, expiry, counters, call.kind.value, now)
                if len(leases) > MOST_LEASES:
                    self._prune_leases(call.key, now)
        holding: Vector = (0, *(k + g for k, g in zip(keeping[1:], lent.granted[1:], strict=True)))  # type: ignore[assignment]  # mypy forgets the length
        self._hold(call.session, call.key, holding)
        return Grant(lease_id, requests, lent.life_ms, Amounts(*holding[1:]))

    def _prune_leases(self, key: str, now: int) -> None:
        left = {i: lease for i, lease in self._leases[key].items() if lease.expiry > now - allowances.FAR_MS}
        if left:
            self._leases[key] = left
        else:
            del self._leases[key]

    def _states(self, found: list[Bound], now: int) -> tuple[LimitState, ...]:
        return tuple(self._state(bound, now) for bound in found if bound.window_ms or bound.unit is Unit.CONCURRENT)

    def _state(self, bound: Bound, now: int) -> LimitState:
        used = allowances.weigh(bound.mask, self._held.get(bound.owner, _ZERO))
        reset = 0
        if bound.window_ms:
            window = self._window(bound.counter, bound.window_ms, now)
            used += window.total
            reset = window.empty_ms(now)
        left = max(0, bound.amount - used)
        return LimitState(bound.name, bound.unit, bound.amount, left, reset, bound.window_ms, bound.scope)
