from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import pytest

from penstock_auth import main, metrics
from penstock_auth.counters import StoreDown, StoreRefused
from penstock_auth.counters_memory import MemoryCounters
from penstock_auth.counters_redis import RedisCounters
from penstock_auth.settings import AuthSettings
from penstock_catalog.documents import AuthCatalog, write
from penstock_catalog.shards import secret_names, split
from penstock_chassis.process import StartError
from penstock_chassis.secret import Secret
from penstock_chassis.settings import SettingsError
from tests.apiserver import ApiServer
from tests.ports import free_port


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="penstock-auth-") as name:
        yield Path(name)


def settings(folder: Path, **more) -> AuthSettings:
    facts = {
        "address": f"unix:{folder}/auth.sock",
        "catalog_path": folder / "auth.json",
        "database_url": Secret(f"sqlite:///{folder}/ledger.db"),
    }
    return AuthSettings(**(facts | more))


async def until(true, seconds=60.0):
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


async def test_it_waits_for_a_catalog_and_says_so(folder):
    auth = main.Auth(settings(folder))
    starting = asyncio.create_task(auth.start())
    await until(lambda: "catalog" in auth.ready()[1])
    assert auth.ready() == (False, f"waiting for the catalog {folder}/auth.json")
    write(folder / "auth.json", AuthCatalog().sealed())
    async with asyncio.timeout(30):
        await starting
    assert auth.ready() == (True, "")
    await auth.drain(1)


async def test_in_a_cluster_its_catalog_comes_from_secrets(folder, monkeypatch):
    cluster = settings(folder, catalog_path=None, catalog_secrets="penstock-auth")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    outside = main.Auth(msgspec.structs.replace(cluster, database_url=Secret("postgresql://127.0.0.1:1/none")))
    with pytest.raises(StartError, match="or give catalog_path instead of catalog_secrets"):
        await outside.start()
    await outside.drain(1)

    async with ApiServer() as server:
        server.allowed = set(secret_names("penstock-auth"))
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(folder)))
        auth = main.Auth(cluster)
        problems = metrics.CATALOG_PROBLEMS._value.get()
        starting = asyncio.create_task(auth.start())
        await until(lambda: metrics.CATALOG_PROBLEMS._value.get() > problems)
        assert auth.ready() == (False, "waiting for the catalog in Secrets penstock-auth-*")
        for name, payload in split(AuthCatalog().sealed()).payloads("penstock-auth").items():
            server.put(name, payload)
        async with asyncio.timeout(30):
            await starting
        assert auth.ready() == (True, "")
        await auth.drain(1)


async def test_it_waits_for_a_database_that_is_down(folder):
    down = Secret(f"postgresql://penstock@127.0.0.1:{free_port()}/none")
    auth = main.Auth(settings(folder, database_url=down, database_deadline_seconds=0.3))
    starting = asyncio.create_task(auth.start())
    await until(lambda: auth.ready() == (False, "waiting for the database"))
    await asyncio.sleep(0.1)
    assert not starting.done()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await auth.drain(1)


@pytest.mark.parametrize("url", ["mysql://u:sesame@h/d", "sqlite://"])
async def test_what_waiting_cannot_mend_is_said(folder, url):
    auth = main.Auth(settings(folder, database_url=Secret(url)))
    with pytest.raises(StartError) as refused:
        await auth.start()
    assert "sesame" not in str(refused.value)
    await auth.drain(0)


async def test_an_unfit_store_is_refused_and_a_down_one_is_waited_for(folder, monkeypatch):
    write(folder / "auth.json", AuthCatalog().sealed())

    class Unfit(MemoryCounters):
        problem: Exception = StoreRefused("it refuses scripts")

        async def open(self):
            raise self.problem

    monkeypatch.setattr(main, "_counters", lambda _, truth: Unfit(truth))
    auth = main.Auth(settings(folder))
    with pytest.raises(StartError, match="refuses scripts"):
        await auth.start()
    await auth.drain(0)
    Unfit.problem = StoreDown("not there yet")
    auth = main.Auth(settings(folder))
    await auth.start()
    assert auth.ready()[0]
    await auth.drain(0)


async def test_a_ledger_that_cannot_be_a_file_is_refused_in_words(folder):
    auth = main.Auth(settings(folder, database_url=Secret(f"sqlite:///{folder}")))
    with pytest.raises(StartError, match=r"the ledger's file cannot be used: .*directory"):
        await auth.start()
    await auth.drain(0)


async def test_a_task_that_fails_begins_again(folder, monkeypatch):
    monkeypatch.setattr(main, "_AGAIN_SECONDS", 0.0)
    auth = main.Auth(settings(folder))
    began = []

    async def work():
        began.append(1)
        raise KeyError("a bug")

    auth._keep("work", work)
    await until(lambda: len(began) > 2)
    await auth.drain(0)


def test_the_store_is_chosen_by_its_url(folder):
    assert isinstance(main._counters(settings(folder), None), MemoryCounters)
    redis = settings(folder, redis_url=Secret("redis://127.0.0.1:1/0"))
    assert isinstance(main._counters(redis, None), RedisCounters)


def test_settings_hide_what_is_secret_and_refuse_what_is_unknown(folder, monkeypatch):
    monkeypatch.setenv("PENSTOCK_AUTH_DATABASE_URL", "postgresql://u:sesame@h/d")
    monkeypatch.setenv("PENSTOCK_AUTH_CATALOG_PATH", str(folder / "auth.json"))
    made = AuthSettings.read()
    assert "sesame" not in repr(made)
    assert made.database_url.reveal().startswith("postgresql://u:sesame")
    with pytest.raises(TypeError):
        AuthSettings(databse_url="x")
    monkeypatch.setenv("PENSTOCK_AUTH_CATALOG_SECRETS", "penstock-auth")
    with pytest.raises(SettingsError, match="catalog_path and catalog_secrets are both set") as refused:
        AuthSettings.read()
    assert "sesame" not in str(refused.value)
    monkeypatch.delenv("PENSTOCK_AUTH_CATALOG_PATH")
    assert str(AuthSettings.read().catalog) == "in Secrets penstock-auth-*"
    monkeypatch.delenv("PENSTOCK_AUTH_CATALOG_SECRETS")
    with pytest.raises(SettingsError, match="set catalog_path to the document's file"):
        AuthSettings.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_life_of_the_process(folder, number):
    """It serves, ends (or is killed), and the next one takes the database over."""
    write(folder / "auth.json", AuthCatalog().sealed())
    environment = {
        **os.environ,
        "PENSTOCK_AUTH_NAME": "auth-7",
        "PENSTOCK_AUTH_ADDRESS": f"unix:{folder}/auth.sock",
        "PENSTOCK_AUTH_CATALOG_PATH": str(folder / "auth.json"),
        "PENSTOCK_AUTH_DATABASE_URL": f"sqlite:///{folder}/ledger.db",
        "PENSTOCK_AUTH_RUN_DIR": str(folder / "run"),
    }
    for expected in (-9 if number is signal.SIGKILL else 0, 0):
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock_auth.main"], env=environment, stderr=subprocess.PIPE
        )
        try:
            deadline = time.monotonic() + 90
            while b'"started"' not in (line := process.stderr.readline()):
                assert line, "it ended"
                assert time.monotonic() < deadline
            assert json.loads((folder / "run" / "auth-7.json").read_text())["pid"] == process.pid
            process.send_signal(number if expected else signal.SIGTERM)
            process.communicate(timeout=90)
            assert process.returncode == expected
        finally:
            process.kill()
            process.wait()
