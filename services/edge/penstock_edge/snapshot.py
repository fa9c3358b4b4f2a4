"""The router's picture as this edge holds it: models, prices, and the pool that requests pick their accounts from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc

from penstock.router.v1 import router_pb2
from penstock_chassis import logs
from penstock_edge.price import Price
from penstock_routing import AccountFacts, Cooldown, Share, Timeouts
from penstock_routing.access import allows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock.router.v1.router_pb2_grpc import RouterServiceAsyncStub
    from penstock_routing import Pool

_log = logs.get(__name__)

_SILENCE_SECONDS: Final = 3.0
_FIRST_PAUSE_SECONDS: Final = 0.05
_LAST_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Model:
    """A public model. A `retires_at_ms` of 0 means that there is no date; `prices` ascend by effective time."""

    name: str
    aliases: tuple[str, ...]
    owned_by: str
    display_name: str
    context_tokens: int
    max_output_tokens: int
    created_at_ms: int
    retires_at_ms: int
    prices: tuple[Price, ...]
    fallbacks: tuple[str, ...]
    upstream_names: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Models:
    """All models of one snapshot; swapped whole."""

    rows: tuple[Model, ...]
    by_name: dict[str, Model]


class RouterView:
    """Keeps `Router.Watch` open and the pool up to date. While the router is away, the last picture stays.

    `clock` is monotonic seconds, `rng` gives floats in [0, 1).
    """

    def __init__(
        self,
        stub: RouterServiceAsyncStub,
        pool: Pool,
        *,
        session_id: str,
        clock: Callable[[], float],
        rng: Callable[[], float],
        edge: str = "",
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> None:
        self.pool = pool
        self.catalog_version = ""
        self.connected = False
        self.ready = False
        """True from the first snapshot on, for ever."""
        self.streams = 0
        """How often it has begun to watch: on a new stream the router may be one that knows nothing of us."""
        self._stub = stub
        self._session_id = session_id
        self._edge = edge
        self._clock = clock
        self._rng = rng
        self._silence = silence_seconds
        self._models = _Models((), {})
        self._accounts: tuple[str, ...] = ()
        self._resync = asyncio.Event()
        self._told: list[Callable[[], None]] = []

    def listen(self, told: Callable[[], None]) -> None:
        """Call `told` whenever shares or the catalog changed, for the router waits to hear that we obey."""
        self._told.append(told)

    def resolve(self, name: str) -> Model | None:
        """Return the model with this name or alias."""
        return self._models.by_name.get(name)

    def models(self) -> tuple[Model, ...]:
        """Return every model, in the catalog's order."""
        return self._models.rows

    def models_for(self, patterns: Iterable[str]) -> list[Model]:
        """Return the models whose names match one of a key's patterns."""
        wanted = tuple(patterns)
        return [m for m in self._models.rows if allows(wanted, m.name)]

    def price(self, model: Model, now_ms: int) -> Price | None:
        """Return the model's price row in force at `now_ms` (unix ms); None when there is none yet."""
        found = None
        for row in model.prices:
            if row.effective_at_ms > now_ms:
                break
            found = row
        return found

    def account(self, name: str) -> AccountFacts | None:
        """Return an account's endpoint, credential and timeouts; None when the catalog does not have it (any more)."""
        return self.pool.account(name)

    def accounts(self) -> tuple[str, ...]:
        """Return the names of all accounts of the last snapshot."""
        return self._accounts

    def resync(self) -> None:
        """Watch anew: the router does not know this session."""
        self._resync.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            before = self._clock()
            try:
                await self._watch_once()
            except (grpc.RpcError, TimeoutError) as error:
                _log.info("router_watch_ended", error=_code(error))
            finally:
                self.connected = False
            # A stream that lasted starts the back-off anew.
            pause = _FIRST_PAUSE_SECONDS if self._clock() - before > 1.0 else min(pause * 2, _LAST_PAUSE_SECONDS)
            await asyncio.sleep(pause * (0.5 + self._rng()))

    async def _watch_once(self) -> None:
        self._resync.clear()
        self.streams += 1
        call = self._stub.Watch(self._request())
        resync = asyncio.ensure_future(self._resync.wait())
        resync.add_done_callback(lambda _: call.cancel())
        try:
            while True:
                async with asyncio.timeout(self._silence):
                    update = await call.read()
                if not isinstance(update, router_pb2.Update) or self._resync.is_set():
                    return
                self.apply(update, self._clock())
                self.connected = True
        except asyncio.CancelledError:
            # Reading a call that we cancelled for a resync raises this too; our own end must go on outwards.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
        finally:
            resync.cancel()
            call.cancel()

    def _request(self) -> router_pb2.WatchRequest:
        held = [
            router_pb2.ShareHeld(account=name, version=version, share=_share_message(share))
            for name, (version, share) in self.pool.shares().items()
        ]
        return router_pb2.WatchRequest(edge_session=self._session_id, edge=self._edge, shares=held)

    def apply(self, update: router_pb2.Update, now: float) -> None:
        """Take one message of the stream in; a snapshot becomes visible all at once."""
        self.pool.router_seen(now)
        what = update.WhichOneof("what")
        if what == "snapshot":
            self._swap(update.snapshot, now)
        elif what == "cooldowns":
            for row in update.cooldowns.cleared:
                self.pool.clear_cooldown(row.account, row.model, row.operation, now)
            for row in update.cooldowns.set:
                self.pool.set_cooldown(_cooldown(row), now)
        elif what == "shares":
            for part in update.shares.shares:
                self.pool.set_share(part.account, part.version, _share(part.share), now)
        if what in {"snapshot", "shares"}:
            for told in self._told:
                told()

    def _swap(self, snapshot: router_pb2.Snapshot, now: float) -> None:
        rows = tuple(_model(m) for m in snapshot.models)
        by_name = {alias: m for m in rows for alias in m.aliases}
        by_name.update((m.name, m) for m in rows)
        accounts = [_account(a) for a in snapshot.accounts]
        cooldowns = [_cooldown(c) for c in snapshot.cooldowns]
        # Nothing above touches what requests see; nothing below awaits.
        self._models = _Models(rows, by_name)
        self._accounts = tuple(a.name for a in accounts)
        self.pool.load(accounts, now)
        self.pool.set_cooldowns(cooldowns, now)
        for part in snapshot.shares:
            self.pool.set_share(part.account, part.version, _share(part.share), now)
        if snapshot.catalog_version != self.catalog_version:
            _log.info("snapshot_loaded", version=snapshot.catalog_version, accounts=len(accounts), models=len(rows))
        self.catalog_version = snapshot.catalog_version
        self.ready = True


def _model(m: router_pb2.Model) -> Model:
    return Model(
        name=m.name,
        aliases=tuple(m.aliases),
        owned_by=m.owned_by,
        display_name=m.display_name,
        context_tokens=m.context_tokens,
        max_output_tokens=m.max_output_tokens,
        created_at_ms=m.created_at_ms,
        retires_at_ms=m.retires_at_ms,
        prices=tuple(_price(p) for p in m.prices),
        fallbacks=tuple(m.fallbacks),
        upstream_names=dict(m.upstream_names),
    )


def _price(p: router_pb2.Price) -> Price:
    return Price(
        digest=p.digest,
        effective_at_ms=p.effective_at_ms,
        input=p.input,
        output=p.output,
        cache_write_5m=p.cache_write_5m,
        cache_write_1h=p.cache_write_1h,
        cache_read=p.cache_read,
        long_context_above=p.long_context_above,
        long_context_input=p.long_context_input,
        long_context_output=p.long_context_output,
        long_context_cache_write_5m=p.long_context_cache_write_5m,
        long_context_cache_write_1h=p.long_context_cache_write_1h,
        long_context_cache_read=p.long_context_cache_read,
    )


def _account(a: router_pb2.Account) -> AccountFacts:
    return AccountFacts(
        name=a.name,
        provider=a.provider,
        base_url=a.base_url,
        api_key=a.api_key,
        models=tuple(a.models),
        tier=a.tier,
        weight=a.weight,
        mode=a.mode,
        timeouts=_timeouts(a.timeouts),
        allow_private_address=a.allow_private_address,
        generation=a.generation,
        credential_hash=a.credential_hash,
        not_served=a.not_served,
    )


def _timeouts(t: router_pb2.Timeouts) -> Timeouts:
    usual = Timeouts()
    return Timeouts(
        connect=t.connect_ms / 1000 or usual.connect,
        first_byte=t.first_byte_ms / 1000 or usual.first_byte,
        idle=t.idle_ms / 1000 or usual.idle,
        response=t.response_ms / 1000 or usual.response,
    )


def _cooldown(c: router_pb2.Cooldown) -> Cooldown:
    return Cooldown(
        account=c.account,
        model=c.model,
        operation=c.operation,
        cls=getattr(c, "class"),
        remaining_seconds=c.remaining_ms / 1000,
        half_open=c.half_open,
        trial_session=c.trial_session,
        ramp_percent=c.ramp_percent,
        reason=c.reason,
    )


def _share(s: router_pb2.Share) -> Share:
    return Share(
        slots=s.slots,
        requests_per_minute=s.requests_per_minute,
        request_burst=s.request_burst,
        tokens_per_minute=s.tokens_per_minute,
        token_burst=s.token_burst,
    )


def _share_message(s: Share) -> router_pb2.Share:
    return router_pb2.Share(
        slots=s.slots,
        requests_per_minute=s.requests_per_minute,
        request_burst=s.request_burst,
        tokens_per_minute=s.tokens_per_minute,
        token_burst=s.token_burst,
    )


def _code(error: BaseException) -> str:
    return error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
