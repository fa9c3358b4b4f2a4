"""One auth of two is cut off from PostgreSQL alone: a key that is revoked through the other ends at its edge too."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from penstock_auth.administration import Administration
from penstock_auth.changes import ChangeHub
from penstock_auth.database import open_database
from penstock_auth.key_book import KeyBook
from penstock_auth.keys import KeyOrder
from penstock_auth.plans import view
from penstock_catalog.documents import AuthCatalog, read
from tests.client import exchange, payload
from tests.large_stack import LargeStack
from tests.postgres import postgres_server
from tests.relay import relay
from tests.servers import redis_server
from tests.stack import Simulator, account, plan

if TYPE_CHECKING:
    from pathlib import Path

    from penstock_auth.database import Database

pytestmark = [pytest.mark.xdist_group("scale"), pytest.mark.timeout(300)]


def administration(database: Database, catalog: Path) -> Administration:
    """What a person does through a third auth."""
    book = KeyBook(database, monotonic=time.monotonic)
    book.catalog = view(read(catalog, AuthCatalog))
    return Administration(
        database,
        book,
        ChangeHub(),
        key_prefix="psk_",
        random_bytes=secrets.token_bytes,
        now_ms=lambda: time.time_ns() // 1_000_000,
    )


async def status(stack: LargeStack, key: str) -> int:
    return (await exchange(stack.ports["edge-0"], key, payload("tokens=3"))).status


async def until(stack: LargeStack, key: str, wanted: int, *meanwhile: int) -> None:
    """Ask until the answer is this one; before, it may be of these."""
    async with asyncio.timeout(60):
        while (found := await status(stack, key)) != wanted:
            assert found in meanwhile
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["cut", "freeze"])
async def test_a_key_that_is_revoked_elsewhere_ends_at_the_edge_of_an_auth_without_sql(
    tmp_path: Path, how: str
) -> None:
    simulator = Simulator(tmp_path, ["a"])
    async with AsyncExitStack() as ending:
        ending.callback(simulator.end)
        postgres = ending.enter_context(postgres_server())
        redis = ending.enter_context(redis_server())
        wire = await ending.enter_async_context(relay(postgres.port))
        url = postgres.database()
        stack = LargeStack(
            tmp_path,
            [
                plan("open", maxConcurrentRequests=1000, onStoreOutage="Degraded"),
                *account("a", simulator.url, "sim-key-a"),
            ],
            keys=(),
            # A busy machine is no failing store.
            auth={"REDIS_URL": redis.url, "REDIS_DEADLINE_SECONDS": "2", "DATABASE_URL": url},
            router={},
            own={
                "edge-0": {"ADMIT_SECONDS": "5"},
                "auth-1": {"DATABASE_URL": url.replace(f":{postgres.port}/", f":{wire.port}/")},
            },
        )
        ending.callback(stack.end)
        # The edge finds the one that will be cut off, and stays with it.
        await asyncio.to_thread(stack.start, "auth-1", "router-0", "edge-0")
        await asyncio.to_thread(stack.start, "auth-0")
        database = open_database(url)
        ending.push_async_callback(asyncio.to_thread, database.close)
        acts = administration(database, tmp_path / "auth-catalog.json")
        (key, revoked), (_, other) = [await acts.create_key(KeyOrder("demo", "open"), "test") for _ in range(2)]
        for each in (revoked, other):
            await until(stack, each, 200, 503)
        getattr(wire, how)()
        await acts.disable_key(key.id, "test")
        await until(stack, revoked, 503, 200)
        assert [await status(stack, each) for each in (other, revoked, other)] == [200, 503, 200]
        wire.mend()
        await until(stack, revoked, 401, 503)
        assert "change_heard_without_sql" in stack.log("auth-1")
        assert revoked not in stack.log("auth-1") + str(
            redis.command("ZRANGE", "penstock:{counters}:changes", "0", "-1")
        )
