"""What an edge does not carry about: each of these costs every edge megabytes, for nothing."""

import subprocess
import sys

import pytest

EDGE = "import penstock_edge.main"
TRACED = """
import os
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
from penstock_chassis import telemetry
from penstock_chassis.telemetry_settings import TelemetrySettings
telemetry.begin(TelemetrySettings(), service="penstock-edge", instance="edge-0")
"""
APP = """
from penstock_edge.plane import Plane
parts = dict.fromkeys(("view", "admission", "settlement", "dispatcher", "estimates", "metrics", "auth"))
app = Plane(**parts, session="", ready=lambda: (True, ""), max_body_bytes=1, admit_seconds=1.0).app()
assert "/v1/models/{model_id}" in app.openapi()["paths"]
"""
NEVER = {
    "attr",
    "chardet",
    "charset_normalizer",
    "httpx",
    "pydantic.v1",
    "pygments",
    "redis",
    "rich",
    "sqlalchemy",
    "watchfiles",
}
ONLY_TRACED = {"opentelemetry.exporter", "opentelemetry.sdk", "requests", "urllib3"}


def imported(program: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.split())


@pytest.mark.parametrize(("program", "unwanted"), [(EDGE + APP, NEVER | ONLY_TRACED), (EDGE + TRACED, NEVER)])
def test_an_edge_imports_only_what_it_needs(program, unwanted):
    assert imported(program) & unwanted == set()
