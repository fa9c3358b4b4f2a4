"""What the image's build is told of where packages come from: all that matters, and no path of this machine."""

from __future__ import annotations

import configparser
import os
import runpy
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SCRIPT = Path("scripts/build_secrets.py")


@pytest.fixture
def told():
    return runpy.run_path(str(SCRIPT))


def test_pip_is_told_what_it_was_told_here(told):
    lines = [
        ":env:.index-url='https://one.example/simple'",
        "global.index-url='https://two.example/simple'",
        "global.extra-index-url='file:///opt/simple https://three.example/simple'",
        "global.trusted-host='one.example'",
        "install.find-links='/opt/wheels'",
        "list.format='columns'",
    ]
    settings = told["pip_settings"](lines)
    conf = configparser.ConfigParser()
    conf.read_string(told["pip_conf"](settings))
    assert dict(conf["global"]) == {
        "index-url": "https://one.example/simple",
        "extra-index-url": "https://three.example/simple",
        "trusted-host": "one.example",
    }


def test_uv_is_told_what_pip_was_told(told):
    settings = {"index-url": "https://u:p@one.example/simple", "trusted-host": "one.example", "find-links": "./here"}
    assert tomllib.loads(told["uv_toml"](settings, {})) == {
        "index-url": "https://u:p@one.example/simple",
        "allow-insecure-host": ["one.example"],
    }


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_uvs_own_variables_win_over_pips(told, variable):
    environment = {variable: "https://uv.example/simple", "UV_FIND_LINKS": "/opt/wheels,https://links.example"}
    assert tomllib.loads(told["uv_toml"]({"index-url": "https://pip.example/simple"}, environment)) == {
        "index-url": "https://uv.example/simple",
        "find-links": ["https://links.example"],
    }


def test_nothing_is_told_where_nothing_is_configured(told):
    assert told["pip_conf"]({}) == told["uv_toml"]({}, {}) == ""
    assert told["authorities"]({}, {"SSL_CERT_FILE": "/nowhere"}) == b""


def test_uvs_own_configuration_is_taken_whole(told, tmp_path):
    file = tmp_path / "uv.toml"
    file.write_text("system-certs = true\n")
    assert told["own_uv_toml"]({"UV_CONFIG_FILE": str(file)}) == "system-certs = true\n"
    assert told["own_uv_toml"]({"UV_CONFIG_FILE": str(tmp_path / "none"), "HOME": "/nowhere"}) is None


def test_the_files_are_for_their_owner_alone(tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("an authority")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    environment |= {"SSL_CERT_FILE": str(bundle), "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "https://i.example"}
    folder = tmp_path / "out"
    folder.mkdir()
    subprocess.run([sys.executable, str(SCRIPT), str(folder)], env=environment, check=True, timeout=60)
    assert (folder / "ca.pem").read_text() == "an authority"
    assert "index-url = https://i.example" in (folder / "pip.conf").read_text()
    assert {path.name for path in folder.iterdir()} == {"pip.conf", "uv.toml", "ca.pem"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
