"""Two auths share PostgreSQL and Redis, and one of them is cut off from PostgreSQL alone."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import msgspec
import pytest

from penstock.auth.v1 import admin_pb2, auth_pb2
from penstock_catalog.documents import Plan, write
from penstock_chassis.secret import Secret
from tests.contract.ledger.test_service import PLAN, Service, catalog
from tests.relay import relay
from tests.servers import redis_server

STORE_DOWN = auth_pb2.DENIAL_REASON_STORE_DOWN
DISABLED = auth_pb2.DENIAL_REASON_DISABLED
LENIENT = Plan(name="lenient", on_store_outage="Degraded")


@pytest.fixture(scope="module")
def redis():
    with redis_server() as server:
        yield server


@pytest.fixture
async def pair(postgres, redis):
    """A whole auth, one behind a wire to SQL, and that wire."""
    redis.command("FLUSHALL")
    url = postgres.database(template="migrated")
    with tempfile.TemporaryDirectory(prefix="penstock-auth-") as folder:
        async with relay(postgres.port) as wire:
            urls = {"whole": url, "far": url.replace(f":{postgres.port}/", f":{wire.port}/")}
            made = [await begin(Path(folder) / name, each, redis.url) for name, each in urls.items()]
            try:
                yield *made, wire
            finally:
                wire.mend()
                for service in made:
                    await service.stop()
    postgres.drop(url.rpartition("/")[2])


async def begin(folder: Path, database_url: str, redis_url: str) -> Service:
    folder.mkdir()
    service = Service(folder, database_url)
    # A busy machine is no failing store.
    service.settings = msgspec.structs.replace(
        service.settings, redis_url=Secret(redis_url), redis_deadline_seconds=5.0
    )
    write(service.settings.catalog_path, catalog(plans=(PLAN, LENIENT)))
    await service.start()
    return service


async def known(whole, far, plan="lenient"):
    """A key that the far auth has lent something of."""
    key, digest = await whole.create_key(plan=plan, project=f"of-{plan}")
    assert (await far.allow(digest)).HasField("allowance")
    # The seq is of the session and key, whoever is asked.
    whole.seqs[digest] = far.seqs[digest]
    return key, digest


async def reason(service, digest, wanted):
    """Ask until the answer is this denial."""
    async with asyncio.timeout(30):
        while (answer := await service.allow(digest)).denial.reason != wanted:
            await asyncio.sleep(0.05)
    return answer


@pytest.mark.parametrize("how", ["cut", "freeze"])
async def test_a_key_that_is_disabled_elsewhere_is_closed_until_sql_can_be_read(pair, how):
    whole, far, wire = pair
    key, digest = await known(whole, far)
    _, other = await known(whole, far)
    stream = far.edge.WatchChanges(auth_pb2.WatchChangesRequest(edge_session="edge-1"))
    await stream.read()
    getattr(wire, how)()
    await whole.admin.DisableKey(admin_pb2.DisableKeyRequest(id=key.id))
    async with asyncio.timeout(30):
        while (await stream.read()).key_sha256 != digest:
            pass
    answer = await reason(far, digest, STORE_DOWN)
    assert (answer.key.key_id, answer.key.on_store_outage) == (key.id, "Closed")
    assert (await far.allow(other)).HasField("allowance")
    wire.mend()
    await reason(far, digest, DISABLED)
    stream.cancel()
