"""Local mode from resource files to documents, keys and back again on every change."""

import asyncio
import shutil
import stat
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from penstock_catalog import api_key, documents
from penstock_catalog.documents import AuthCatalog, RouterCatalog
from penstock_catalog.local import LocalCatalog
from penstock_catalog.sources import DocumentSource, ResourceFiles

EXAMPLE = Path(__file__).parent / "data" / "resources.yaml"


@pytest.fixture
def file(tmp_path) -> Path:
    return Path(shutil.copy(EXAMPLE, tmp_path / "resources.yaml"))


@pytest.fixture
def local(tmp_path, file) -> LocalCatalog:
    return LocalCatalog(ResourceFiles([file]), tmp_path / "data")


def test_the_example_is_published(local, tmp_path):
    state = local.publish()
    assert (state.problems, state.refused) == ((), False)
    router = documents.read(tmp_path / "data" / "catalog" / "router.json", RouterCatalog)
    auth = documents.read(tmp_path / "data" / "catalog" / "auth.json", AuthCatalog)
    assert (router, auth) == (state.compiled.router, state.compiled.auth)
    text = (tmp_path / "data" / "secrets" / "ci-key" / "api-key").read_text()
    assert local.key_path("ci-key").read_text() == text
    (declared,) = auth.api_keys
    assert declared.digest == api_key.digest(text).hex()
    assert (declared.prefix, declared.project) == (api_key.shown(text), "demo")
    for path in (local.router_path, local.auth_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert text not in path.read_text()
    assert local.publish().compiled == state.compiled


def test_invalid_files_leave_the_last_good_state(local, file):
    good = local.publish()
    written = local.router_path.read_bytes(), local.auth_path.read_bytes()
    file.write_text(EXAMPLE.read_text().replace("weight: 100", "weight: 0"))
    state = local.publish()
    assert (state.refused, state.compiled) == (True, good.compiled)
    assert [str(problem) for problem in state.problems] == [
        f"{file}:16: UpstreamAccount/anthropic-a spec.weight: must be at least 1"
    ]
    assert (local.router_path.read_bytes(), local.auth_path.read_bytes()) == written
    file.write_text(EXAMPLE.read_text().replace("weight: 100", "weight: 7"))
    assert local.publish().compiled.router.accounts[0].weight == 7


def test_nothing_good_yet(local, file):
    file.write_text("kind: X\n")
    state = local.publish()
    assert (state.compiled, state.refused, len(state.problems)) == (None, True, 1)
    assert not local.router_path.exists()


def test_private_addresses_are_allowed_unless_denied(local, file):
    text = EXAMPLE.read_text().replace("https://api.anthropic.com", "http://127.0.0.1:9")
    file.write_text(text)
    assert [problem.reason for problem in local.publish().problems] == ["AddressNotAllowed", "NoReadyAccount"]
    file.write_text("\n".join(line for line in text.splitlines() if "allowPrivateAddress" not in line))
    assert local.publish().problems == ()


def test_a_secret_of_the_same_name_is_told(local, file):
    with file.open("a") as more:
        more.write("\n---\n{apiVersion: v1, kind: Secret, metadata: {name: ci-key}, stringData: {a: b}}\n")
    (problem,) = local.publish().problems
    assert (problem.reason, problem.resource) == ("SecretConflict", "APIKey/ci")


def test_a_data_directory_that_cannot_be_written_is_told(tmp_path, file):
    (tmp_path / "data").write_text("a file")
    state = LocalCatalog(ResourceFiles([file]), tmp_path / "data").publish()
    assert state.refused
    assert [problem.reason for problem in state.problems] == ["Unwritable"]


async def test_a_change_reaches_the_readers_within_two_seconds(local, file):
    local.publish()
    source = DocumentSource(local.router_path, RouterCatalog)

    async def follow(states):
        async with aclosing(local.changes()) as changes:
            async for state in changes:
                states.append(state)

    states = []
    following = asyncio.create_task(follow(states))
    async with aclosing(source.changes()) as changes:
        await anext(changes)
        await asyncio.sleep(0.1)
        file.write_text(EXAMPLE.read_text().replace("weight: 100", "weight: 0"))
        await asyncio.sleep(1)
        assert [state.refused for state in states] == [True]
        begun = time.monotonic()
        file.write_text(EXAMPLE.read_text().replace("weight: 100", "weight: 42"))
        document = await asyncio.wait_for(anext(changes), 30)
        assert time.monotonic() - begun < 20
        assert document.accounts[0].weight == 42
        assert [state.refused for state in states] == [True, False]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
