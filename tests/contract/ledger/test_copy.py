"""A ledger moves from SQLite to PostgreSQL: every row goes over, and the books go on where they were."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from sqlalchemy import select

from penstock_auth import ledger_copy
from penstock_auth.database import open_database, parse_url
from penstock_auth.errors import DatabaseRefused
from penstock_auth.ledger_copy import copy_ledger
from penstock_auth.schema import lock_for, migrate
from penstock_auth.tables import metadata
from tests.contract.ledger.books import Books, settlement


def everything(url):
    database = open_database(url, deadline_seconds=60.0)
    with database.engine.connect() as connection:
        tables = {
            table.name: sorted(tuple(row) for row in connection.execute(select(table)))
            for table in metadata.sorted_tables
        }
    database.close()
    return tables


@pytest.fixture
def target(postgres):
    url = postgres.database()
    yield url
    postgres.drop(url.rpartition("/")[2])


@pytest.fixture
async def source(tmp_path):
    """A ledger with a bit of everything."""
    path = tmp_path / "ledger.db"
    database = open_database(f"sqlite:///{path}", deadline_seconds=60.0)
    migrate(database.engine)
    books = Books(database)
    await books.set_up()
    await books.top_up(10_000)
    await books.settle(settlement("a"), settlement("b"))
    await books.settle(settlement("poison", price_digest="never-heard-of"))
    await asyncio.to_thread(database.close)
    return path


async def test_everything_goes_over_and_the_books_go_on(source, target, monkeypatch, capsys):
    monkeypatch.setenv("PENSTOCK_AUTH_DATABASE_URL", target)
    monkeypatch.setattr(ledger_copy, "_ROWS_AT_ONCE", 1)
    assert await asyncio.to_thread(ledger_copy.main, [str(source)]) == 0
    assert "settlements: 2 rows\n" in capsys.readouterr().out
    assert await asyncio.to_thread(everything, target) == await asyncio.to_thread(everything, f"sqlite:///{source}")

    database = open_database(target, deadline_seconds=20.0)
    books = Books(database)
    books._ids = itertools.count(100)
    balance = await books.balance()
    assert not (await books.settle(settlement("a"))).fresh
    assert await books.balance() == balance
    await books.settle(settlement("c"))
    await books.top_up(5_000)
    await books.assert_balanced()
    await asyncio.to_thread(database.close)


async def test_a_database_that_has_a_ledger_is_left_alone(source, target):
    await asyncio.to_thread(copy_ledger, source, target)
    before = await asyncio.to_thread(everything, target)
    with pytest.raises(DatabaseRefused, match="the target has rows in"):
        await asyncio.to_thread(copy_ledger, source, target)
    assert await asyncio.to_thread(everything, target) == before


async def test_what_makes_no_sense_is_refused(source, tmp_path, monkeypatch, capsys):
    with pytest.raises(DatabaseRefused, match="there is no"):
        copy_ledger(tmp_path / "other.db", "postgresql://h/d")
    monkeypatch.setenv("PENSTOCK_AUTH_DATABASE_URL", f"sqlite:///{tmp_path}/new.db")
    assert ledger_copy.main([str(source)]) == 1
    assert capsys.readouterr().err.startswith("nothing was copied: the target is not PostgreSQL")


async def test_a_ledger_that_an_auth_has_open_is_not_copied(source, monkeypatch):
    monkeypatch.setattr(ledger_copy, "_LOCK_WAIT_SECONDS", 0.1)
    lock = lock_for(parse_url(f"sqlite:///{source}"))
    lock.take(1.0)
    with pytest.raises(DatabaseRefused, match="another auth has"):
        await asyncio.to_thread(copy_ledger, source, "postgresql://127.0.0.1:1/none")
    lock.free()
