"""Settings from the environment."""

from __future__ import annotations

import pytest

from penstock_chassis.settings import SettingsError
from penstock_router.settings import RouterSettings


def test_from_the_environment_and_without_secrets_in_sight(monkeypatch, tmp_path):
    monkeypatch.setenv("PENSTOCK_ROUTER_ADDRESS", "unix:/tmp/r.sock")
    monkeypatch.setenv("PENSTOCK_ROUTER_CATALOG_PATH", str(tmp_path / "router.json"))
    monkeypatch.setenv("PENSTOCK_ROUTER_REDIS_URL", "redis://:hunter2@redis:6379/0")
    settings = RouterSettings.read()
    assert settings.address == "unix:/tmp/r.sock"
    assert settings.redis_url.reveal().endswith("@redis:6379/0")
    assert "hunter2" not in repr(settings)


def test_exactly_one_catalog_and_no_secret_in_the_refusal(monkeypatch):
    monkeypatch.setenv("PENSTOCK_ROUTER_ADDRESS", "unix:/tmp/r.sock")
    monkeypatch.setenv("PENSTOCK_ROUTER_REDIS_URL", "redis://:hunter2@redis:6379/0")
    with pytest.raises(SettingsError, match="set catalog_path to the document's file"):
        RouterSettings.read()
    monkeypatch.setenv("PENSTOCK_ROUTER_CATALOG_SECRETS", "penstock-router")
    monkeypatch.setenv("PENSTOCK_ROUTER_CATALOG_NAMESPACE", "gateway")
    assert str(RouterSettings.read().catalog) == "in Secrets penstock-router-* of namespace gateway"
    monkeypatch.setenv("PENSTOCK_ROUTER_CATALOG_PATH", "/catalog/router.json")
    with pytest.raises(SettingsError, match="take one of them away") as refused:
        RouterSettings.read()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 30.0),
        ({"run_dir": "/tmp/x"}, 0.0),
        ({"learn_seconds": 3}, 3.0),
        ({"run_dir": "/tmp/x", "learn_seconds": 3}, 3.0),
    ],
)
def test_how_long_it_learns(given, seconds):
    assert RouterSettings(address="a", catalog_path="/c", **given).learning() == seconds
