"""Counters in Redis, shared by all auths: each decision is one script on the keys of one project.

Keys: `penstock:{<project>}:<epoch>:...` with all of a project in one cluster slot and an expiry on each, and
`penstock:{counters}:sessions`, one hash without expiry that holds the epoch and its sessions (beside it is the
`bulletin`). A flushed store has no epoch; the next reader makes one, and the projects' keys of an earlier epoch are
never read again. A project without its facts (after a flush that this auth has not noticed, or a long rest) is rebuilt
from the ledger first. A cluster's nodes bear marks of the epoch, and one that has lost them ends it for all (`marks`).

Each auth looks at the sessions at most a second apart. Redis's clock is used; a jump forward of it while this auth
runs is not believed (windows would open early), a jump back makes time stand still.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from penstock_auth import allowances, marks, recounting
from penstock_auth.allowances import PROJECT, RECOVERING_MS
from penstock_auth.bulletin import RedisBulletin
from penstock_auth.counters import (
    AllowResult,
    Denial,
    Heard,
    Reason,
    StoreDown,
)
from penstock_auth.ledger_windows import BUSY_SECONDS, LedgerWindows
from penstock_auth.rebuilding import Rebuilding
from penstock_auth.recovery import Epoch, Presence, Status
from penstock_auth.script_messages import Keys, adds_of, bound_of, declared_of, parts_of, result_of, windows_of
from penstock_auth.scripts import DEADLINE_SECONDS, Runner, Script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock_auth.counters import (
        AllowCall,
        Declaration,
        EpochState,
        KeyDeclaration,
        SettleEffect,
        Truth,
        Versioned,
    )

SESSIONS_KEY: Final = "penstock:{counters}:sessions"
VIEW_MS: Final = 1_000  # how old a look at the sessions may be
HURRIED_VIEW_MS: Final = 100  # the same while somebody waits for a session to speak
TOUCH_MS: Final = 10_000  # an Allow is a sign of life too, noted so often
CLOCK_SLACK_MS: Final = 250
CLOCK_DRIFT: Final = 0.001
PROJECTS_AT_ONCE: Final = 32
KEYS_AT_ONCE: Final = 32  # of a declaration: the store works on them one by one, and each has to come in time
SESSIONS_AT_ONCE: Final = 1_000  # that declare themselves
TRIES: Final = 40  # most of them while another auth counts the project anew


class RedisCounters:
    """`Counters` in Redis at `url`, or in its `cluster`. `clock` (unix ms) stands in for Redis's own in tests."""

    def __init__(
        self,
        url: str,
        truth: Truth,
        *,
        cluster: bool = False,
        clock: Callable[[], int] | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._runner = Runner(url, deadline_seconds, cluster=cluster)
        self.bulletin = RedisBulletin(self._runner)
        self._truth = truth
        self._clock = clock
        self._allow = Script("allow")
        self._settle = Script("settle")
        self._declare = Script("declare")
        self._ledger = LedgerWindows(self._run, truth)
        self._sessions = Script("sessions", alone=True)
        self._view: Epoch | None = None
        self._view_ms = 0  # the store's time when it was read
        self._view_asked = 0.0  # our monotonic time when it was asked for
        self._marked = ""  # the epoch whose marks are on every node of a cluster
        self._offset: float | None = None  # the store's ms minus ours, the least seen
        self._offset_at = 0.0
        self._last = 0
        self._looking = asyncio.Lock()
        self._rebuilding = Rebuilding(self._build)
        self._recounting = Rebuilding(self._recount)
        self._taking = Rebuilding(self._take_all, at_once=SESSIONS_AT_ONCE)
        self._told: dict[str, Declaration] = {}

    async def open(self) -> None:
        """See `Counters.open`."""
        await self._runner.load([self._allow, self._settle, self._declare, *self._ledger.scripts, self._sessions])
        await self._look(0)
        await self._whole()

    async def close(self) -> None:
        """See `Counters.close`."""
        await self._rebuilding.close()
        await self._recounting.close()
        await self._taking.close()
        await self._runner.close()

    def time_ms(self) -> int:
        """See `Counters.time_ms`."""
        return self._store_time()

    async def allow(self, call: AllowCall) -> AllowResult:
        """See `Counters.allow`."""
        for _ in range(TRIES):
            view = await self._look(VIEW_MS)
            if not self._welcome(view, call):
                view = await self._look(HURRIED_VIEW_MS)
                if view.status(call.session) is None:
                    view = await self._touch(call.session)
            if not self._welcome(view, call):
                denial = Denial(Reason.RECOVERING, reset_ms=RECOVERING_MS, valid_ms=RECOVERING_MS)
                return AllowResult(None, denial, view.id, self._store_time(), max(1, len(view.live())))
            if view.sessions[call.session].seen_ms < self._store_time() - TOUCH_MS:
                view = await self._touch(call.session)
            if view.recovering(self._store_time()):
                view = await self._look(HURRIED_VIEW_MS)
            result = await self._ask(view, call)
            if isinstance(result, AllowResult):
                return result
            if result is self._rebuilding:
                await self._look(0)
            await result.wait(call.project)
        raise StoreDown("the store lost its memory, or the key's plan changed, again and again")

    async def settle(self, effects: Sequence[SettleEffect]) -> None:
        """See `Counters.settle`."""
        by_project: dict[str, list[SettleEffect]] = defaultdict(list)
        for effect in effects:
            by_project[effect.project].append(effect)
        # One script after the other would take longer than there is time for when a batch is of many projects.
        projects = list(by_project.items())
        for start in range(0, len(projects), PROJECTS_AT_ONCE):
            some = projects[start : start + PROJECTS_AT_ONCE]
            await asyncio.gather(*(self._settle_project(project, its) for project, its in some))

    async def _settle_project(self, project: str, effects: list[SettleEffect]) -> None:
        view, how = await self._look(VIEW_MS), {"careful": True, "whole": False}
        for _ in range(TRIES):
            match await self._apply(view, project, effects, **how):
                case "rebuild":
                    view, how["careful"] = await self._look(0), False
                case "open":
                    how["whole"] = True
                case "busy":
                    await asyncio.sleep(BUSY_SECONDS)
                case _:
                    return
        raise StoreDown("the project is being counted anew")

    async def declare(self, declaration: Declaration) -> Heard:
        """See `Counters.declare`."""
        view = await self._touch(declaration.session)
        news = view.status(declaration.session) in (Status.FRESH, Status.MUST)
        if not (declaration.complete and declaration.epoch == view.id and news):
            return self._heard(view, declaration.session)
        self._told[declaration.session] = declaration
        try:
            await self._taking.wait(declaration.session)
        finally:
            self._told.pop(declaration.session, None)
        return self._heard(await self._look(VIEW_MS), declaration.session)

    async def _take_all(self, session: str) -> None:
        """Take in what a session has declared last. An edge repeats it until it hears that this has been done."""
        declaration = self._told.pop(session, None)
        view = await self._look(VIEW_MS)
        if declaration is None or view.id != declaration.epoch:
            return
        for parts in parts_of(declaration, KEYS_AT_ONCE):
            await asyncio.gather(*(self._take_in(view, project, session, keys) for project, keys in parts))
        await self._session("declare", session=session, epoch=declaration.epoch)

    async def touch_session(self, session: str) -> Heard:
        """See `Counters.touch_session`."""
        return self._heard(await self._touch(session), session)

    async def end_session(self, session: str) -> Heard:
        """See `Counters.end_session`."""
        return self._heard(await self._session("end", session=session), session)

    async def epoch(self) -> EpochState:
        """See `Counters.epoch`."""
        await self._look(0)
        return (await self._whole()).state(self._store_time())

    def _welcome(self, view: Epoch, call: AllowCall) -> bool:
        """Say whether the session may be lent something: it has nothing that this epoch does not know of."""
        if call.epoch != view.id and (call.epoch != "" or view.recorded(call.session)):
            return False
        return view.status(call.session) in (Status.FRESH, Status.DECLARED)

    async def _look(self, oldest_ms: int) -> Epoch:
        """Return the sessions as they were at most so long ago."""
        if self._view is not None and self._store_time() - self._view_ms < oldest_ms:
            return self._view
        asked = time.monotonic()
        async with self._looking:
            if self._view is not None and self._view_asked >= asked:
                return self._view
            return await self._session("read")

    async def _session(self, op: str, **fields: Any) -> Epoch:
        asked = time.monotonic()
        call = {"op": op, "fresh": uuid.uuid4().hex, **self._times(), **fields}
        view = self._read(await self._runner.run(self._sessions, [SESSIONS_KEY], call), asked)
        if view.expected is None:
            recorded = sorted(await self._truth.unclean_sessions())
            call = {"op": "expect", "fresh": uuid.uuid4().hex, "epoch": view.id, "expected": recorded, **self._times()}
            view = self._read(await self._runner.run(self._sessions, [SESSIONS_KEY], call), asked)
        return view

    async def _touch(self, session: str) -> Epoch:
        """Note a sign of life; the others are looked at only when it is another epoch than was last seen."""
        if self._view is not None and self._view.expected is not None:
            call = {"op": "touch", "fresh": uuid.uuid4().hex, "session": session, "brief": True, **self._times()}
            epoch, _, now, _, [(name, seen, status, spoke)], _ = await self._runner.run(
                self._sessions, [SESSIONS_KEY], call
            )
            self._learn_time(now)
            view = self._view
            if view.id == epoch and view.expected is not None:
                view.sessions[name] = Presence(seen, Status(status), spoke)
                return view
        return await self._session("touch", session=session)

    async def _whole(self) -> Epoch:
        """Return the sessions as last seen, of a new epoch if a node of a cluster has lost what it had."""
        if self._view is None:
            return await self._look(0)
        epoch = self._view.id
        if self._marked != epoch:
            # One server has nothing to mark: it loses the epoch with the rest.
            if self._runner.one_of_each(marks.KEYS) and await marks.write(self._runner, epoch):
                await self._session("marked", epoch=epoch)
        elif await marks.missing(self._runner):
            return await self._session("lost", epoch=epoch)
        return self._view

    def _read(self, answer: Any, asked: float) -> Epoch:
        epoch, since, now, expected, sessions, marked = answer
        self._marked = epoch if marked else ""
        self._learn_time(now)
        view = Epoch(epoch, since, None if expected is False else frozenset(expected))
        for name, seen, status, spoke in sessions:
            view.sessions[name] = Presence(seen, Status(status), spoke)
        self._view, self._view_ms, self._view_asked = view, now, asked
        return view

    async def _ask(self, view: Epoch, call: AllowCall) -> AllowResult | Rebuilding:
        """Run the decision; or say what must be waited for first."""
        now = self._store_time()
        live = view.live()
        found = allowances.bounds(call)
        keys = Keys(call.project, view.id)
        names = ["facts", "held", "holdings", "seen", "turns", f"leases:{call.key}"]
        for name in [*names, f"answer:{call.session}:{call.key}"]:
            keys.key(name)
        for kind in ("requests", "count_tokens"):
            for name, window_ms in allowances.lease_counters(call.limits, call.key, kind):
                keys.window(name, window_ms)
        bounds = [bound_of(bound, call, keys) for bound in found]
        lease_windows = [name for name, _ in allowances.lease_counters(call.limits, call.key, call.kind.value)]
        answer = await self._run(
            self._allow,
            keys,
            session=call.session,
            key=call.key,
            kind=call.kind.value,
            shape=recounting.shape_of(call.limits),
            seq=call.seq,
            need=allowances.vector(call.need_requests, call.need),
            want=allowances.vector(call.want_requests, call.want),
            keeping=allowances.vector(0, call.keeping)[1:],
            returned=[(back.lease_id, back.spent) for back in call.returned],
            bounds=bounds,
            lease_windows=lease_windows,
            lease_id=f"{call.session}/{call.seq}",
            edges=max(1, len(live)),
            recovering=view.recovering(now),
            full_at=view.full_at_ms(now),
            strict=call.strict,
            live=live,
            gone=view.gone(),
        )
        if answer[0] in ("rebuild", "recount"):
            return self._rebuilding if answer[0] == "rebuild" else self._recounting
        return result_of(answer, found, view, max(1, len(live)))

    async def _apply(
        self, view: Epoch, project: str, effects: list[SettleEffect], *, careful: bool, whole: bool
    ) -> str:
        """Apply effects, or say why not.

        `rebuild`: the project has no facts in this epoch and `careful` forbids to make them; `busy`: it is being
        counted anew; `open`: some were open when it was, so the `whole` of what they do must be told.
        """
        keys = Keys(project, view.id)
        keys.key("facts")
        told = []
        known: dict[str, Versioned | None] = {}
        for effect in effects:
            absent = view.absent(effect.session)
            used = (effect.input_tokens, effect.output_tokens, effect.micro_usd)
            adds = adds_of(keys, effect.limits, effect.key, used, 1 if absent else 0)
            requests = windows_of(keys, effect.limits, effect.key, "requests") if whole and not absent else []
            facts = []
            for owner, fact in ((PROJECT, effect.balance), (allowances.budget_of(effect.key), effect.spent)):
                # Rows of a batch mostly know the same, and once is enough.
                if fact is not None and known.get(owner) is not fact:
                    known[owner] = fact
                    facts.append((owner, fact.version, fact.micro_usd))
            mark = keys.key(f"settled:{effect.request_id}") if adds or requests else 0
            if mark or facts:
                one = {"at": effect.admitted_at_ms, "adds": adds, "facts": facts, "mark": mark, "requests": requests}
                told.append(one | {"key": effect.key, "session": effect.session} if requests else one)
        answer = await self._run(
            self._settle,
            keys,
            effects=told,
            careful=careful,
            whole=whole,
            oldest=min(effect.admitted_at_ms for effect in effects),
            shapes=sorted({(effect.key, recounting.shape_of(effect.limits)) for effect in effects}),
        )
        return str(answer[0])

    async def _take_in(self, view: Epoch, project: str, session: str, declared: Sequence[KeyDeclaration]) -> None:
        keys = Keys(project, view.id)
        for name in ("facts", "held", "holdings", "seen"):
            keys.key(name)
        told = [declared_of(keys, each) for each in declared]
        await self._run(self._declare, keys, session=session, first=not view.spoke(session), told=told)

    async def _build(self, project: str) -> None:
        """Rebuild a project's windows from the ledger; other auths may do it beside us."""
        view = await self._look(VIEW_MS)
        if (await self._whole()).id != view.id:
            return
        await self._ledger.rebuild(view.id, project, await self._truth.history(project))

    async def _recount(self, project: str) -> None:
        """Count a project's windows anew, because the plan of a key has changed."""
        await self._ledger.recount((await self._look(VIEW_MS)).id, project)

    async def _run(self, script: Script, keys: Keys, **call: Any) -> Any:
        call["windows"] = list(keys.windows.values())
        call.update(self._times())
        answer = await self._runner.run(script, keys.names, call)
        self._learn_time(answer[1])
        return answer

    def _times(self) -> dict[str, int]:
        """Return the test's clock, and the latest time that we would believe of Redis (0: any)."""
        if self._clock is not None:
            return {"clock": self._clock(), "ceiling": 0}
        if self._offset is None:
            return {"clock": 0, "ceiling": 0}
        mono = time.monotonic()
        drift = (mono - self._offset_at) * 1000 * CLOCK_DRIFT
        return {"clock": 0, "ceiling": int(mono * 1000 + self._offset + CLOCK_SLACK_MS + drift)}

    def _learn_time(self, now: int) -> None:
        self._last = max(self._last, now)
        mono = time.monotonic()
        offset = now - mono * 1000
        if self._offset is None or offset < self._offset:
            self._offset, self._offset_at = offset, mono

    def _store_time(self) -> int:
        """Return what the store's clock shows, about; before it has answered, what this machine's does."""
        if self._clock is not None:
            return max(self._last, self._clock())
        if self._offset is None:
            return time.time_ns() // 1_000_000
        return max(self._last, int(time.monotonic() * 1000 + self._offset))

    def _heard(self, view: Epoch, session: str) -> Heard:
        again = view.status(session) not in (Status.DECLARED, Status.ENDED)
        return Heard(view.id, self._store_time(), again)
