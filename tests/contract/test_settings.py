"""No process takes a setting that it cannot live with, and none repeats what stands in a variable."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import fields

from penstock_auth.settings import AuthSettings
from penstock_chassis import variables
from penstock_chassis.settings import SettingsError
from penstock_edge.settings import EdgeSettings
from penstock_operator.settings import OperatorSettings
from penstock_router.settings import RouterSettings
from penstock_simulator.settings import SimulatorSettings
from penstock_status.settings import StatusSettings

NEEDED = {
    EdgeSettings: {},
    AuthSettings: {"catalog_path": "/c"},
    RouterSettings: {"catalog_path": "/c", "address": "unix:/r"},
    StatusSettings: {"auth_address": "unix:/a", "router_address": "unix:/r", "admin_token_file": "/t"},
    OperatorSettings: {},
    SimulatorSettings: {},
}
# Any number will do for it.
FREE = {(SimulatorSettings, "seed")}


def refused(kind, name, text):
    told = {kind.variable(known): value for known, value in {**NEEDED[kind], name: text}.items()}
    with pytest.raises(SettingsError) as error:
        kind.read(told)
    return str(error.value)


def numbers(kind):
    for field in fields(kind):
        if variables.schema(field.type).get("type") in {"number", "integer"} and (kind, field.name) not in FREE:
            yield field.name


@pytest.mark.parametrize("kind", NEEDED, ids=lambda kind: kind.__name__)
def test_numbers_that_nothing_can_be_done_with(kind):
    kind.read({kind.variable(name): text for name, text in NEEDED[kind].items()})
    for name in numbers(kind):
        for text in ("-1", "nan", "inf", "-inf", os.fsdecode(b"\xff")):
            assert kind.variable(name) in refused(kind, name, text), (name, text)


@pytest.mark.parametrize("kind", NEEDED, ids=lambda kind: kind.__name__)
def test_ports_that_there_are_not(kind):
    ports = [name for name in numbers(kind) if name.endswith("port")]
    assert "metrics_port" in ports
    for name in ports:
        assert "from 0 to 65535" in refused(kind, name, "65536")


@pytest.mark.parametrize("name", ["router_addresses", "auth_addresses"])
def test_what_is_no_address_is_not_repeated(name):
    said = refused(OperatorSettings, name, "router:8443, redis://u:sesame@h")
    assert f"{name}: number 2 is no address" in said
    assert "sesame" not in said


@pytest.mark.parametrize("text", ["", "psk ", "psk/", "p" * 33])
def test_a_prefix_that_no_key_can_have(text):
    assert "PENSTOCK_AUTH_KEY_PREFIX" in refused(AuthSettings, "key_prefix", text)
