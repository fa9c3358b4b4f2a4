"""Catalog documents on disk: private, whole, verified."""

import json
import os
import stat
from pathlib import Path

import pytest

from penstock_catalog import documents
from penstock_catalog.documents import Account, AuthCatalog, DocumentError, Plan, PlanLimit, RouterCatalog

ACCOUNT = Account(
    name="a",
    provider="Anthropic",
    base_url="https://api.anthropic.com",
    api_key="sk-ant-héllo",
    credential_hash="0" * 12,
    models=("m",),
)
ROUTER = RouterCatalog(accounts=(ACCOUNT,)).sealed()
PLAN = Plan(name="p", limits=(PlanLimit(name="l", unit="Requests", amount=1, window_ms=60_000),))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_written_and_read_again(tmp_path):
    path = tmp_path / "data" / "catalog" / "router.json"
    documents.write(path, ROUTER)
    assert documents.read(path, RouterCatalog) == ROUTER
    assert mode(path) == 0o600
    assert mode(path.parent) == mode(path.parent.parent) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["router.json"]


def test_a_replaced_file_becomes_private(tmp_path):
    path = tmp_path / "auth.json"
    path.write_text("old")
    path.chmod(0o644)
    documents.write(path, AuthCatalog(plans=(PLAN,)).sealed())
    assert mode(path) == 0o600
    assert documents.read(path, AuthCatalog).plans == (PLAN,)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "router.json"
    documents.write(path, ROUTER)

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        documents.write(path, RouterCatalog().sealed())
    assert documents.read(path, RouterCatalog) == ROUTER
    assert [file.name for file in tmp_path.iterdir()] == ["router.json"]


def test_equal_content_has_an_equal_version_and_other_content_another():
    assert RouterCatalog(accounts=(ACCOUNT.model_copy(),)).sealed().version == ROUTER.version
    other = ACCOUNT.model_copy(update={"api_key": "sk-ant-other"})
    assert RouterCatalog(accounts=(other,)).sealed().version != ROUTER.version
    assert RouterCatalog().sealed().version != AuthCatalog().sealed().version
    assert ROUTER.sealed() == ROUTER


def change(**fields):
    return json.dumps(json.loads(documents.dumps(ROUTER)) | fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        (documents.dumps(ROUTER)[:-10], "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[]", "not a RouterCatalog"),
        (documents.dumps(AuthCatalog().sealed()), "not a RouterCatalog"),
        (change(schema_version=2), "schema version"),
        (change(schema_version=None), "schema version"),
        (documents.dumps(ROUTER).replace('"m"', '"n"'), "does not match its version"),
        (change(version="0" * 16), "does not match its version"),
        (documents.dumps(RouterCatalog()), "does not match its version"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(DocumentError, match=message) as caught:
        documents.loads(text, RouterCatalog, "router.json")
    assert str(caught.value).startswith("router.json: ")


def test_a_field_of_another_release_is_refused_without_showing_values():
    content = json.loads(documents.dumps(ROUTER))
    content["accounts"][0]["colour"] = "secret-value"
    kind = content.pop("kind")
    content["version"] = documents._digest(content, kind)
    with pytest.raises(DocumentError, match=r"accounts\.0\.colour") as caught:
        documents.loads(json.dumps({"kind": kind, **content}), RouterCatalog)
    assert "secret" not in str(caught.value)


def test_a_plan_says_nothing_that_earlier_releases_do_not_know_unless_it_has_to(tmp_path):
    assert "route_header" not in PLAN.model_dump(mode="json")
    shown = PLAN.model_copy(update={"route_header": "Show"})
    catalogs = [AuthCatalog(plans=(plan,)).sealed() for plan in (PLAN, shown)]
    assert catalogs[0].version != catalogs[1].version
    for catalog in catalogs:
        documents.write(tmp_path / "auth.json", catalog)
        assert documents.read(tmp_path / "auth.json", AuthCatalog) == catalog


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DocumentError, match=r"router\.json: No such file"):
        documents.read(tmp_path / "router.json", RouterCatalog)


def test_credentials_do_not_show_in_a_repr():
    assert "sk-ant" not in repr(ROUTER)
