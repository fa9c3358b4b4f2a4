"""compose.yaml: each process is told what its settings know, and is locked up. tests/image/test_image.py runs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from penstock_auth.settings import AuthSettings
from penstock_catalog.local import LocalCatalog
from penstock_catalog.sources import ResourceFiles
from penstock_edge.settings import EdgeSettings
from penstock_router.settings import RouterSettings
from penstock_simulator.settings import SimulatorSettings
from penstock_status.settings import StatusSettings

FOLDER = Path("deploy/compose")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
SETTINGS = {
    "auth": AuthSettings,
    "edge": EdgeSettings,
    "router": RouterSettings,
    "simulator": SimulatorSettings,
    "status": StatusSettings,
}


@pytest.mark.parametrize("process", sorted(SETTINGS))
def test_every_variable_is_a_setting_with_a_value_that_will_do(process, monkeypatch):
    prefix = f"PENSTOCK_{process.upper()}_"
    environment = SERVICES[process]["environment"]
    own = {name for name in environment if name.startswith(prefix)}
    assert {name.removeprefix(prefix).lower() for name in own} <= set(SETTINGS[process].__struct_fields__)
    for name in own:
        monkeypatch.setenv(name, environment[name])
    settings = SETTINGS[process].read()
    assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", 9090)
    assert settings.drain_seconds < seconds(SERVICES[process]["stop_grace_period"]) - 5
    assert f"penstock-{process}" in SERVICES[process]["command"]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_container_is_locked_up(service):
    told = SERVICES[service]
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    assert told["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in told
    assert "privileged" not in told
    assert all(port.startswith("127.0.0.1:") for port in told.get("ports", ()))


def test_only_who_makes_catalogs_may_write_them_and_the_edge_does_not_see_them():
    seen = {
        service: volume
        for service, told in SERVICES.items()
        for volume in told.get("volumes", ())
        if volume.startswith("desired:")
    }
    assert seen.pop("desired") == "desired:/var/lib/penstock"
    assert set(seen) == {"auth", "router", "status"}
    assert all(volume.endswith(":ro") for volume in seen.values())


def test_volumes_and_networks_are_declared():
    named = {
        volume.split(":")[0]
        for told in SERVICES.values()
        for volume in told.get("volumes", ())
        if not volume.startswith("$")
    }
    assert named == COMPOSE["volumes"].keys()
    assert {name for told in SERVICES.values() for name in told.get("networks", ())} == COMPOSE["networks"].keys()


def test_names_the_version_that_make_images_builds():
    version = re.search(r'^version = "(.*)"', Path("services/edge/pyproject.toml").read_text(), re.MULTILINE)[1]
    assert {told["image"] for told in SERVICES.values()} == {f"${{PENSTOCK_IMAGE:-penstock:{version}}}"}


def test_its_resources_can_be_used_and_speak_to_the_simulator(tmp_path, monkeypatch):
    state = LocalCatalog(ResourceFiles([FOLDER / "resources"]), tmp_path).publish()
    assert not state.refused
    assert state.problems == ()
    for name, value in SERVICES["simulator"]["environment"].items():
        monkeypatch.setenv(name, value)
    simulator = SimulatorSettings.read()
    known = {account.key for account in simulator.accounts}
    told = (tmp_path / "catalog/router.json").read_text()
    assert all(key in told for key in known)
    addresses = set(re.findall(r"http://simulator:(\d+)", told))
    assert addresses == {str(simulator.port)}


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))
