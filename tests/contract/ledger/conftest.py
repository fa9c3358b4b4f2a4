"""One ledger, two databases: every test of this suite runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from penstock_auth.database import open_database
from penstock_auth.schema import migrate
from tests.contract.ledger.books import Books
from tests.postgres import postgres_server


@pytest.fixture(scope="session")
def postgres():
    with postgres_server() as server:
        database = open_database(server.database(name="migrated"), deadline_seconds=60.0)
        migrate(database.engine)
        database.close()
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """URL of a database of this test's own, already migrated."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/ledger.db"
        database = open_database(url, deadline_seconds=60.0)
        migrate(database.engine)
        database.close()
        yield url
        return
    server = request.getfixturevalue("postgres")
    url = server.database(template="migrated")
    yield url
    server.drop(url.rpartition("/")[2])


@pytest.fixture
async def database(database_url):
    opened = open_database(database_url, deadline_seconds=20.0)
    yield opened
    await asyncio.to_thread(opened.close)


@pytest.fixture
async def books(database):
    made = Books(database)
    await made.set_up()
    return made
