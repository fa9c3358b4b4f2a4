"""The admin token: made once, never written over."""

import asyncio
import re

import pytest
from structlog.testing import capture_logs

from penstock_operator.admin_token import AdminTokenKeeper, Found
from penstock_operator.cluster import ClusterError
from penstock_operator.ownership import labels
from tests.operator.secrets_in_memory import SecretsInMemory

NAME = "penstock-admin"


@pytest.fixture
def secrets() -> SecretsInMemory:
    return SecretsInMemory()


def keeper(secrets: SecretsInMemory, look_seconds: float = 30.0) -> AdminTokenKeeper:
    return AdminTokenKeeper(secrets, "penstock", NAME, look_seconds=look_seconds)


async def test_a_token_is_made_and_stays(secrets: SecretsInMemory) -> None:
    assert await keeper(secrets).look() is Found.MADE
    token = secrets.data(NAME)["token"]
    assert re.fullmatch(rb"[A-Za-z0-9_-]{43}", token)
    assert secrets.secrets[NAME]["metadata"]["labels"] == labels("penstock", "admin-token")
    assert await keeper(secrets).look() is Found.THERE
    assert secrets.data(NAME) == {"token": token}
    assert len(secrets.writes) == 1


async def test_two_releases_have_two_tokens(secrets: SecretsInMemory) -> None:
    await keeper(secrets).look()
    await keeper(other := SecretsInMemory()).look()
    assert other.data(NAME) != secrets.data(NAME)


@pytest.mark.parametrize("marks", [{}, labels("penstock", "admin-token")])
async def test_a_token_that_somebody_chose_stays(secrets: SecretsInMemory, marks: dict[str, str]) -> None:
    secrets.put(NAME, {"token": b"short"}, labels=marks, kind="Opaque")
    assert await keeper(secrets).look() is Found.THERE
    assert secrets.data(NAME) == {"token": b"short"}


@pytest.mark.parametrize("data", [{}, {"token": b""}, {"token": b"\n"}, {"other": b"x"}])
async def test_an_empty_secret_is_filled_if_it_is_ours_and_left_if_not(secrets: SecretsInMemory, data) -> None:
    secrets.put(NAME, data, kind="Opaque")
    assert await keeper(secrets).look() is Found.UNUSABLE
    assert secrets.data(NAME) == data
    secrets.put(NAME, data, labels=labels("penstock", "admin-token"), kind="Opaque")
    assert await keeper(secrets).look() is Found.MADE
    assert len(secrets.data(NAME)["token"]) == 43
    assert secrets.data(NAME) == {**data, "token": secrets.data(NAME)["token"]}


async def test_another_writer_wins(secrets: SecretsInMemory) -> None:
    secrets.before_write = lambda: secrets.put(NAME, {"token": b"theirs"}, kind="Opaque")
    with pytest.raises(ClusterError, match="meanwhile"):
        await keeper(secrets).look()
    assert secrets.data(NAME) == {"token": b"theirs"}


async def until(true) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


async def test_it_waits_for_the_api_and_sees_a_deletion(secrets: SecretsInMemory, monkeypatch) -> None:
    monkeypatch.setattr("penstock_operator.admin_token._FIRST_RETRY", 0.02)
    secrets.down = True
    with capture_logs() as lines:
        task = asyncio.create_task(keeper(secrets, look_seconds=0.05).run())
        await asyncio.sleep(0.2)
        secrets.down = False
        await until(lambda: NAME in secrets.secrets)
        first = secrets.data(NAME)["token"]
        del secrets.secrets[NAME]
        await until(lambda: NAME in secrets.secrets)
        second = secrets.data(NAME)["token"]
        assert first != second
        secrets.put(NAME, {}, kind="Opaque")
        await until(lambda: any("not ours" in line.get("reason", "") for line in lines))
        await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    reasons = [line["reason"] for line in lines if line["event"] == "admin_token_missing"]
    assert reasons == ["no answer", "Secret penstock-admin is not ours and has no token: give it one"]
    assert first.decode() not in str(lines)
    assert second.decode() not in str(lines)
