"""An Allow call from digest to answer: the key, its plan, its money in SQL, and then the counters' decision."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from penstock.auth.v1 import auth_pb2
from penstock_auth import metrics, translation
from penstock_auth.counters import NOTHING, AllowCall, Reason, SpendLimit, StoreDown, StoreRefused, Versioned
from penstock_auth.errors import Conflict, KeyInDoubt
from penstock_auth.keys import KeyState
from penstock_auth.spend import read_spend
from penstock_auth.tables import projects

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from penstock_auth.counters import AllowResult, Counters
    from penstock_auth.database import Database
    from penstock_auth.key_book import KeyBook
    from penstock_auth.keys import Key
    from penstock_catalog.documents import Plan

# How long an edge answers by itself from what only a person can change; a change event ends it sooner.
_UNKNOWN_MS: Final = 5_000
_MISSING_MS: Final = 1_000
_STORE_DOWN_MS: Final = 250
_STORE_SECONDS: Final = 2.0

_REFUSALS: Final = {
    KeyState.DISABLED: auth_pb2.DENIAL_REASON_DISABLED,
    KeyState.WITHDRAWN: auth_pb2.DENIAL_REASON_DISABLED,
    KeyState.EXPIRED: auth_pb2.DENIAL_REASON_EXPIRED,
}


class Lender:
    """Answers Allow calls. `now_ms` gives Unix ms."""

    def __init__(self, database: Database, keys: KeyBook, counters: Counters, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._keys = keys
        self._counters = counters
        self._now_ms = now_ms

    async def allow(self, request: auth_pb2.AllowRequest) -> auth_pb2.AllowResponse:
        """Lend, or say why not. Raises Invalid, DatabaseDown, and Conflict for an outdated seq."""
        try:
            key = await self._keys.find(translation.key_digest(request.key_sha256))
        except KeyInDoubt as doubt:
            return _undecided(doubt.key, self._keys.catalog.plans.get(doubt.key.plan), refused=True)
        if key is None:
            return _denied(None, None, auth_pb2.DENIAL_REASON_UNKNOWN_KEY, _UNKNOWN_MS)
        plan = self._keys.catalog.plans.get(key.plan)
        call = self._call(request, key, plan)
        refusal = self._refusal(key, plan)
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                if refusal is not None:
                    # What the edge gives back is taken in all the same.
                    await self._counters.allow(
                        replace(call, need_requests=0, want_requests=0, need=NOTHING, want=NOTHING)
                    )
                    return _denied(key, plan, *refusal)
                result = await self._counters.allow(await self._with_money(call, key, plan))
        except (StoreDown, StoreRefused, TimeoutError):
            metrics.STORE_ERRORS.labels("Allow").inc()
            return _undecided(key, plan, refused=refusal is not None)
        return _answer(result, key, plan, request.kind)

    def _refusal(self, key: Key, plan: Plan | None) -> tuple[auth_pb2.DenialReason.ValueType, int] | None:
        reason = _REFUSALS.get(key.state_at(self._now_ms()))
        if reason is not None:
            return reason, _UNKNOWN_MS
        return (auth_pb2.DENIAL_REASON_PLAN_MISSING, _MISSING_MS) if plan is None else None

    def _call(self, request: auth_pb2.AllowRequest, key: Key, plan: Plan | None) -> AllowCall:
        return AllowCall(
            project=key.project,
            key=key.counter,
            session=translation.session_name(request.edge_session),
            seq=request.seq,
            kind=translation.kind_of(request.kind),
            need_requests=translation.count("need_requests", request.need_requests),
            want_requests=translation.count("want_requests", request.want_requests),
            keeping=translation.amounts(request.keeping),
            need=translation.amounts(request.need),
            want=translation.amounts(request.want),
            returned=translation.returns(request.returned),
            epoch=request.epoch,
            limits=self._keys.catalog.limits_of(key.plan),
            max_slots=plan.max_concurrent_requests if plan is not None else None,
            strict=plan is not None and plan.over_budget == "Strict",
        )

    async def _with_money(self, call: AllowCall, key: Key, plan: Plan | None) -> AllowCall:
        """Add the balance and the spend, where they limit anything."""
        required = plan is not None and plan.credit == "Required"
        if not required and not key.spend_limit_micro:
            return call
        # By the clock that dates the charges: a month that ours was in by mistake would count as the newest for long.
        now_ms = self._counters.time_ms()
        balance, spent = await self._database.read(lambda connection: _money(connection, key, now_ms))
        return replace(
            call,
            credit=balance if required else None,
            spend_limit=SpendLimit(key.spend_limit_micro, spent) if key.spend_limit_micro else None,
        )


def _money(connection: Connection, key: Key, now_ms: int) -> tuple[Versioned, Versioned]:
    row = connection.execute(
        select(projects.c.balance_micro, projects.c.version).where(projects.c.name == key.project)
    ).first()
    balance = Versioned(row.balance_micro, row.version) if row is not None else Versioned(0, 0)
    return balance, read_spend(connection, [key.id], now_ms).get(key.id, Versioned(0, 0))


def _answer(
    result: AllowResult, key: Key, plan: Plan | None, kind: auth_pb2.LeaseKind.ValueType
) -> auth_pb2.AllowResponse:
    answer = auth_pb2.AllowResponse(
        key=translation.key_facts(key, plan),
        epoch=result.epoch,
        store_time_ms=result.store_time_ms,
        edge_count=result.edges,
        limits=[translation.limit_state(state) for state in result.limits],
    )
    if result.grant is not None:
        answer.allowance.CopyFrom(translation.allowance(result.grant))
        metrics.ALLOW.labels("lent").inc()
        if result.grant.requests:
            metrics.REQUESTS_LENT.labels(translation.kind_of(kind).value).inc(result.grant.requests)
    elif result.denial is not None:
        if result.denial.reason is Reason.STALE:
            raise Conflict("this seq is older than the last one of this session and key")
        answer.denial.CopyFrom(translation.denial(result.denial))
        metrics.ALLOW.labels(result.denial.reason.value).inc()
    return answer


def _undecided(key: Key, plan: Plan | None, *, refused: bool) -> auth_pb2.AllowResponse:
    answer = _denied(key, plan, auth_pb2.DENIAL_REASON_STORE_DOWN, _STORE_DOWN_MS)
    if refused:
        # What the edge gave back was not taken in, so it asks again; but no plan lets such a key go on meanwhile.
        answer.key.on_store_outage = "Closed"
    return answer


def _denied(
    key: Key | None, plan: Plan | None, reason: auth_pb2.DenialReason.ValueType, valid_ms: int
) -> auth_pb2.AllowResponse:
    name = auth_pb2.DenialReason.Name(reason).removeprefix("DENIAL_REASON_")
    metrics.ALLOW.labels(name).inc()
    return auth_pb2.AllowResponse(
        denial=auth_pb2.Denial(reason=reason, valid_ms=valid_ms),
        key=translation.key_facts(key, plan) if key is not None else None,
    )
