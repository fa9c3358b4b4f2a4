"""The schema on both databases: it comes up, it matches the tables, it refuses what it does not know."""

from __future__ import annotations

import asyncio
import stat
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

import penstock_auth
from penstock_auth import keys
from penstock_auth.database import open_database, parse_url
from penstock_auth.errors import DatabaseDown, DatabaseRefused
from penstock_auth.schema import HEAD, FileLock, lock_for, migrate, revision
from penstock_auth.tables import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path):
    url = (
        f"sqlite:///{tmp_path}/fresh.db"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres").database()
    )
    database = open_database(url, deadline_seconds=60.0)
    yield database
    database.close()


def test_from_empty_to_the_newest(empty):
    with empty.engine.connect() as connection:
        assert revision(connection) is None
    migrate(empty.engine)
    migrate(empty.engine)
    with empty.engine.connect() as connection:
        assert revision(connection) == HEAD
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_the_migrations_make_what_the_code_expects(empty):
    migrate(empty.engine)
    with empty.engine.connect() as connection:
        # SQLite gives an empty default back as an expression that nobody wrote.
        defaults = connection.dialect.name == "postgresql"
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": defaults}
        )
        assert compare_metadata(context, metadata) == []


def test_head_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(Path(penstock_auth.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_keys_of_the_first_schema_count_for_themselves(empty):
    config = Config()
    config.set_main_option("script_location", str(Path(penstock_auth.__file__).parent / "migrations"))
    with empty.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO projects (name) VALUES ('demo')"))
        row = {"digest": b"d" * 32}
        connection.execute(text("INSERT INTO api_keys (id, digest, project) VALUES ('k1', :digest, 'demo')"), row)
        connection.commit()
    migrate(empty.engine)
    with empty.engine.connect() as connection:
        assert keys.get(connection, "k1").counter == "k1"


def test_a_newer_schema_is_refused(empty):
    migrate(empty.engine)
    with empty.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseRefused, match=r"9999.*run the release that made it"):
        migrate(empty.engine)


def test_replicas_that_start_together_migrate_once(postgres):
    databases = [open_database(url, deadline_seconds=60.0) for url in [postgres.database()] * 3]
    problems: list[Exception] = []

    def start(database):
        try:
            migrate(database.engine)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=start, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    with databases[0].engine.connect() as connection:
        assert revision(connection) == HEAD
    for database in databases:
        database.close()


def test_a_database_that_is_not_there_is_down():
    database = open_database("postgresql://penstock@127.0.0.1:1/none")
    with pytest.raises(DatabaseDown, match="not reachable"):
        migrate(database.engine)
    database.close()


def test_one_auth_per_sqlite_file(tmp_path):
    path = tmp_path / "deep" / "ledger.db"
    first = lock_for(parse_url(f"sqlite:///{path}"))
    first.take(0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = FileLock(path)
    with pytest.raises(DatabaseRefused, match=r"another auth has .*ledger\.db open; stop it"):
        second.take(0.1, sleep=lambda _: None)
    second.free()
    first.free()
    second.take(0)
    second.free()
    assert lock_for(parse_url("postgresql://h/d")) is None


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://u:sesame@h/d", "postgresql://u@h:sesame/d", "sqlite://", "sqlite:///:memory:"]
)
def test_other_urls_are_refused_without_their_password(url):
    with pytest.raises(DatabaseRefused) as refused:
        parse_url(url)
    assert "sesame" not in str(refused.value)


async def test_commits_survive_a_power_cut(tmp_path):
    """WAL with synchronous=FULL, foreign keys on, for readers and the writer."""
    database = open_database(f"sqlite:///{tmp_path}/l.db", deadline_seconds=60.0)
    for do in (database.write, database.read):
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert await do(lambda c, pragma=pragma: c.exec_driver_sql(f"PRAGMA {pragma}").scalar()) == value
    await asyncio.to_thread(database.close)
