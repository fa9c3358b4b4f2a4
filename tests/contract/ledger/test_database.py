"""A database that is gone, frozen, full of waiters or in conflict: always an answer in time, never half a transaction."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from penstock_auth import database as module
from penstock_auth import projects
from penstock_auth.database import open_database
from penstock_auth.errors import DatabaseDown
from penstock_auth.tables import projects as project_rows


def count(connection):
    return connection.execute(select(func.count()).select_from(project_rows)).scalar_one()


async def test_work_that_raises_leaves_nothing(database):
    def work(connection):
        projects.ensure(connection, "p", 1)
        raise KeyError("halfway")

    with pytest.raises(KeyError):
        await database.write(work)
    assert await database.read(count) == 0


async def test_work_longer_than_its_deadline_is_down(database):
    release = threading.Event()
    began = time.monotonic()
    with pytest.raises(DatabaseDown, match=r"within 0\.1 s"):
        await database.write(lambda _: release.wait(60), seconds=0.1)
    assert time.monotonic() - began < 30
    release.set()
    assert await database.read(count) == 0


COUNTING = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT count(*) FROM n"


async def test_reports_leave_room_for_those_that_a_request_waits_for(database):
    release = threading.Event()
    reports = [asyncio.create_task(database.report(lambda _: release.wait(60), seconds=60.0)) for _ in range(9)]
    await asyncio.sleep(0.05)
    assert await database.read(count) == 0
    release.set()
    assert await asyncio.gather(*reports) == [True] * 9


async def test_a_report_that_nobody_waits_for_any_more_ends(database):
    def endless(connection):
        return connection.exec_driver_sql(COUNTING.format(10**11)).scalar_one()

    reports = [asyncio.create_task(database.read(endless, seconds=60.0)) for _ in range(4)]
    await asyncio.sleep(0.3)
    for report in reports:
        report.cancel()
    await asyncio.gather(*reports, return_exceptions=True)
    began = time.monotonic()
    assert await database.read(count, seconds=60.0) == 0
    assert time.monotonic() - began < 30
    with pytest.raises(DatabaseDown, match="within"):
        await database.report(endless, seconds=0.2)
    assert await database.report(count, seconds=60.0) == 0


async def test_too_many_waiters_are_refused_at_once(database, monkeypatch):
    monkeypatch.setattr(module, "_WAITING_LIMIT", 2)
    release = threading.Event()
    waiting = [asyncio.create_task(database.write(lambda _: release.wait(60))) for _ in range(2)]
    await asyncio.sleep(0.05)
    with pytest.raises(DatabaseDown, match="too many"):
        await database.write(count)
    release.set()
    await asyncio.gather(*waiting)


async def test_broken_rules_are_not_an_outage(database):
    insert = text("INSERT INTO projects (name) VALUES ('p')")
    await database.write(lambda c: c.execute(insert))
    with pytest.raises(IntegrityError):
        await database.write(lambda c: c.execute(insert))


async def test_a_lost_connection_is_replaced_by_itself(postgres):
    database = open_database(postgres.database(template="migrated"), deadline_seconds=60.0)
    assert await database.read(count) == 0

    def end_others(connection):
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    await database.write(end_others)
    assert await database.read(count) == 0
    await asyncio.to_thread(database.close)


async def test_a_server_that_only_reads_is_a_down_one_and_its_connections_are_not_kept(postgres):
    """As after a failover, where who was the primary answers on as a replica."""
    url = postgres.database(template="migrated")
    database, other = (open_database(url, deadline_seconds=60.0, connections=1) for _ in range(2))

    async def read_only(state):
        setting = f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = {state}"
        await other.write(lambda c: c.execute(text(f"SET TRANSACTION READ WRITE; {setting}")))

    await read_only("on")
    for _ in range(2):
        with pytest.raises(DatabaseDown, match="25006"):
            await database.write(lambda c: projects.ensure(c, "p", 1), repeatable=True)
    await read_only("off")
    assert await database.write(lambda c: projects.ensure(c, "p", 1))
    for each in (database, other):
        await asyncio.to_thread(each.close)


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_transaction_taken_back_is_tried_again_a_few_times(postgres, state):
    database = open_database(postgres.database(template="migrated"), deadline_seconds=60.0)
    tries = []

    def work(connection, until):
        tries.append(1)
        if len(tries) < until:
            connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '{state}'; END $$"))
        return projects.ensure(connection, "p", 1)

    assert await database.write(lambda c: work(c, 3))
    assert len(tries) == 3
    tries.clear()
    with pytest.raises(DatabaseDown):
        await database.write(lambda c: work(c, 99))
    assert len(tries) == 5
    await asyncio.to_thread(database.close)


async def test_a_frozen_server_is_a_down_one_and_comes_back(postgres):
    """It takes connections and never answers. Nobody waits beyond the deadline, nor for ever afterwards."""
    database = open_database(postgres.database(template="migrated"), deadline_seconds=0.5, connections=2)
    await database.write(lambda c: projects.ensure(c, "before", 1))
    with postgres.frozen():
        for _ in range(3):
            began = time.monotonic()
            results = await asyncio.gather(*(database.write(count) for _ in range(4)), return_exceptions=True)
            assert all(isinstance(result, DatabaseDown) for result in results)
            assert time.monotonic() - began < 60
    async with asyncio.timeout(90):
        while True:
            try:
                assert await database.write(count) == 1
                break
            except DatabaseDown:
                await asyncio.sleep(0.1)
    await asyncio.to_thread(database.close)


async def test_slow_statements_end_on_the_server_too(postgres):
    database = open_database(postgres.database(template="migrated"), deadline_seconds=20)
    with pytest.raises((DatabaseDown, DBAPIError)):
        await database.read(lambda c: c.execute(text("SELECT pg_sleep(200)")), seconds=0.3)
    async with asyncio.timeout(90):
        while await database.read(
            lambda c: c.execute(
                text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
            ).scalar()
        ):
            await asyncio.sleep(0.05)
    await asyncio.to_thread(database.close)


async def test_errors_do_not_quote_values(database):
    await database.write(lambda c: projects.ensure(c, "secret-value", 1))
    with pytest.raises(IntegrityError) as refused:
        await database.write(
            lambda c: c.execute(text("INSERT INTO projects (name) VALUES (:name)"), {"name": "secret-value"})
        )
    assert "secret-value" not in str(refused.value.statement)
    assert "parameters" not in str(refused.value).replace("hide_parameters", "") or "hidden" in str(refused.value)


async def test_a_long_statement_of_a_file_gives_way(tmp_path, monkeypatch):
    """Whoever shares the core with a batch need not wait until all of it is written."""
    times = []
    monkeypatch.setattr(module, "give_way", lambda: times.append(1))
    database = open_database(f"sqlite:///{tmp_path / 'ledger.db'}")
    try:
        counting = COUNTING.format(10_000)
        assert await database.read(lambda connection: connection.exec_driver_sql(counting).scalar_one()) == 10_000
    finally:
        database.close()
    assert len(times) > 10
