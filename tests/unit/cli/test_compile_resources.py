"""`penstock compile`: what it writes, what it refuses, and how it follows the files."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from penstock_catalog import api_key
from penstock_cli.data_dir import DataDir
from penstock_cli.main import app

RESOURCES = """
apiVersion: penstock.dev/v1alpha1
kind: UpstreamAccount
metadata: {name: a}
spec: {provider: Anthropic, auth: {apiKey: {secretRef: {name: a, key: api-key}}}}
---
apiVersion: v1
kind: Secret
metadata: {name: a}
stringData: {api-key: sk-ant-secret}
---
apiVersion: penstock.dev/v1alpha1
kind: Plan
metadata: {name: team}
spec: {}
---
apiVersion: penstock.dev/v1alpha1
kind: APIKey
metadata: {name: ci}
spec: {project: demo, planRef: {name: team}, secretName: ci-key}
"""


@pytest.fixture
def resources(tmp_path):
    file = tmp_path / "resources.yaml"
    file.write_text(RESOURCES)
    return file


def compiled(resources, folder, *options):
    return CliRunner().invoke(app, ["compile", "--resources", str(resources), "--data-dir", str(folder), *options])


def test_writes_both_catalogs_the_keys_and_a_token_for_its_owner_alone(resources, tmp_path):
    result = compiled(resources, tmp_path / "data")
    assert result.exit_code == 0, result.output
    written = {str(path.relative_to(tmp_path / "data")): path for path in (tmp_path / "data").rglob("*")}
    assert {"catalog/auth.json", "catalog/router.json", "secrets/ci-key/api-key", "admin-token"} <= written.keys()
    files = [path for path in written.values() if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert "sk-ant-secret" in written["catalog/router.json"].read_text()
    assert "sk-ant-secret" not in written["catalog/auth.json"].read_text()
    assert api_key.well_formed(written["secrets/ci-key/api-key"].read_text().strip())


def test_keeps_keys_and_token_and_versions_when_nothing_has_changed(resources, tmp_path):
    compiled(resources, tmp_path / "data")
    kept = {path: path.read_text() for path in (tmp_path / "data").rglob("*") if path.is_file() and path.name != "lock"}
    assert compiled(resources, tmp_path / "data").exit_code == 0
    assert {path: path.read_text() for path in kept} == kept


def test_what_cannot_be_used_is_refused_by_name_and_changes_nothing(resources, tmp_path):
    compiled(resources, tmp_path / "data")
    before = (tmp_path / "data/catalog/auth.json").read_text()
    resources.write_text(RESOURCES.replace("provider: Anthropic", "provider: Nobody"))
    result = compiled(resources, tmp_path / "data")
    assert result.exit_code == 1
    assert "UpstreamAccount/a" in result.output
    assert (tmp_path / "data/catalog/auth.json").read_text() == before


def test_needs_resources(tmp_path):
    assert CliRunner().invoke(app, ["compile", "--data-dir", str(tmp_path)]).exit_code == 2


def test_does_not_share_a_data_directory(resources, tmp_path):
    folder = DataDir(tmp_path / "data")
    folder.prepare()
    lock = folder.lock()
    try:
        result = compiled(resources, tmp_path / "data")
    finally:
        os.close(lock)
    assert result.exit_code == 1
    assert "uses the data directory" in result.output


def test_follows_the_files_until_it_is_told_to_end(resources, tmp_path):
    command = [sys.executable, "-m", "penstock_cli.main", "compile", "--follow"]
    command += ["--resources", str(resources), "--data-dir", str(tmp_path / "data")]
    catalog = tmp_path / "data/catalog/auth.json"

    def wait_for(plans):
        deadline = time.monotonic() + 30
        while not catalog.exists() or {plan["name"] for plan in json.loads(catalog.read_text())["plans"]} != plans:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, catalog.exists() and catalog.read_text()
            time.sleep(0.05)

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for({"team"})
            resources.write_text("kind: [")
            resources.write_text(RESOURCES + "---\n" + RESOURCES.split("---")[2].replace("team", "other"))
            wait_for({"team", "other"})
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert "SIGTERM: ending" in said
