"""What an edge does not carry about: each of these costs every edge megabytes, for nothing."""

import subprocess
import sys

import pytest

EDGE = """
from penstock_edge import main
main.process.run = lambda build, settings: 0
try:
    main.main()
except SystemExit:
    pass
"""
TRACED = """
import os
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
from penstock_chassis import telemetry
from penstock_chassis.telemetry_settings import TelemetrySettings
telemetry.begin(TelemetrySettings.read(), service="penstock-edge", instance="edge-0")
"""
SERVING = """
import asyncio
from penstock_edge.plane import Plane

parts = dict.fromkeys(("view", "admission", "settlement", "dispatcher", "estimates", "auth"))
sent = []

async def send(message):
    sent.append(message.get("status"))

async def receive():
    return {"type": "http.request"}

async def serve():
    app = Plane(**parts, session="", ready=lambda: (True, ""), max_body_bytes=1, admit_seconds=1.0).app()
    told = {"type": "http", "method": "GET", "scheme": "http", "query_string": b"", "headers": [(b"host", b"gateway")]}
    for path in ("/readyz", "/setup.sh", "/openapi.json", "/docs"):
        await app(told | {"path": path}, receive, send)

asyncio.run(serve())
assert sent[::2] == [200, 200, 200, 200], sent
"""
NEVER = {
    "attr",
    "chardet",
    "charset_normalizer",
    "click",
    "fastapi",
    "google.protobuf.text_format",
    "httpx",
    "multiprocessing",
    "pydantic",
    "pygments",
    "redis",
    "rich",
    "sqlalchemy",
    "starlette",
    "uvicorn.supervisors",
    "watchfiles",
}
ONLY_TRACED = {"opentelemetry.exporter", "opentelemetry.sdk", "requests", "urllib3"}


def imported(program: str) -> set[str]:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{program}\nimport sys\nprint(*(name for name, module in sys.modules.items() if module))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.split())


@pytest.mark.parametrize(("program", "unwanted"), [(EDGE + SERVING, NEVER | ONLY_TRACED), (EDGE + TRACED, NEVER)])
def test_an_edge_imports_only_what_it_needs(program, unwanted):
    assert imported(program) & unwanted == set()
