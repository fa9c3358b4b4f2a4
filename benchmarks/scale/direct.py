"""Calls that auth and router get from edges, made one by one: what a single one costs, without anything around it."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

from world import digest_of, key_id, project_of

from penstock.auth.v1 import auth_pb2
from penstock.auth.v1.auth_pb2_grpc import AuthServiceStub
from penstock.router.v1 import router_pb2
from penstock.router.v1.router_pb2_grpc import RouterServiceStub
from penstock_chassis import rpc

if TYPE_CHECKING:
    from collections.abc import Sequence


def settlement(key: int, projects: int, price_digest: str) -> auth_pb2.Settlement:
    """Return one request's end, of one attempt."""
    now_ms = time.time_ns() // 1_000_000
    usage = auth_pb2.Usage(input_tokens=250, output_tokens=300)
    attempt = auth_pb2.Attempt(
        account="account-00000",
        status=200,
        usage=usage,
        reported=True,
        upstream_request_id=f"req_{uuid.uuid4().hex[:24]}",
        started_at_ms=now_ms,
        first_byte_ms=300,
        duration_ms=2_000,
        upstream_model="claude-haiku-4-5",
    )
    setattr(attempt, "class", "Ok")
    return auth_pb2.Settlement(
        request_id=f"req_{uuid.uuid4().hex}",
        edge_session="es_direct",
        key_id=key_id(key),
        project=project_of(key, projects),
        model="claude-haiku-4-5",
        dialect="anthropic",
        price_digest=price_digest,
        price_multiplier_ppm=1_000_000,
        admitted_at_ms=now_ms,
        started_at_ms=now_ms,
        ended_at_ms=now_ms + 2_000,
        state=auth_pb2.DELIVERY_STATE_COMPLETE,
        delivered=0,
        attempts=[attempt],
        streamed=True,
        client_status=200,
        key_sha256=digest_of(key),
    )


async def settle(
    address: str, batches: Sequence[Sequence[auth_pb2.Settlement]], *, edges: int = 8
) -> tuple[int, float]:
    """Settle batches, `edges` of them under way at any time; returns the rows committed and the seconds that took."""
    channel = rpc.channel(address)
    stub: Any = AuthServiceStub(channel)
    left = list(batches)
    committed = 0

    async def edge() -> None:
        nonlocal committed
        while left:
            some = left.pop()
            request = auth_pb2.SettleRequest(edge_session="es_direct", settlements=some)
            answer = await stub.Settle(request, timeout=60)
            committed += sum(result.committed for result in answer.results)

    began = time.monotonic()
    await asyncio.gather(*(edge() for _ in range(edges)))
    took = time.monotonic() - began
    await channel.close(None)
    return committed, took


async def allow(address: str, keys: Sequence[int], *, sessions: int, rounds: int = 1, under_way: int = 8) -> int:
    """Ask for each key in turn, as edge sessions that have declared themselves; returns how many were lent something."""
    channel = rpc.channel(address)
    stub: Any = AuthServiceStub(channel)
    names = [f"es_{uuid.uuid4().hex}" for _ in range(sessions)]
    told = await stub.Declare(auth_pb2.DeclareRequest(edge_session=names[0]), timeout=10)
    epoch = told.epoch

    async def declare(**more: Any) -> None:
        left = list(names)

        async def some() -> None:
            while left:
                await stub.Declare(auth_pb2.DeclareRequest(edge_session=left.pop(), epoch=epoch, **more), timeout=30)

        await asyncio.gather(*(some() for _ in range(under_way)))

    await declare()
    await declare(complete=True)
    lent = 0
    work = [(number, turn) for turn in range(rounds) for number in keys]
    work.reverse()

    async def edge() -> None:
        nonlocal lent
        while work:
            number, turn = work.pop()
            request = auth_pb2.AllowRequest(
                edge_session=names[number % sessions],
                seq=turn + 1,
                key_sha256=digest_of(number),
                kind=auth_pb2.LEASE_KIND_REQUESTS,
                need_requests=1,
                want_requests=4,
                need=auth_pb2.Holding(slots=1, input_tokens=250, output_tokens=300, micro_usd=2_000),
                want=auth_pb2.Holding(slots=2, input_tokens=1_000, output_tokens=1_200, micro_usd=8_000),
                epoch=epoch,
            )
            answer = await stub.Allow(request, timeout=60)
            lent += answer.HasField("allowance")

    await asyncio.gather(*(edge() for _ in range(under_way)))
    await declare(final=True)
    await channel.close(None)
    return lent


async def cool(address: str, accounts: Sequence[str], pause: float) -> None:
    """Report that each of these accounts was throttled, one after the other."""
    channel = rpc.channel(address)
    stub: Any = RouterServiceStub(channel)
    session = f"es_{uuid.uuid4().hex}"
    for number, account in enumerate(accounts):
        outcome = router_pb2.Outcome(
            request_id=f"r{number}",
            project="p",
            account=account,
            model="claude-haiku-4-5",
            operation="messages",
            status=429,
            retry_after_ms=600_000,
            tokens=-1,
            first_byte_ms=-1,
        )
        setattr(outcome, "class", "Throttled")
        await stub.Report(
            router_pb2.ReportRequest(edge_session=session, seq=number + 1, outcomes=[outcome]), timeout=10
        )
        await asyncio.sleep(pause)
    await stub.Report(router_pb2.ReportRequest(edge_session=session, seq=len(accounts) + 1, final=True), timeout=10)
    await channel.close(None)
