"""Real clients against real processes: SDKs of both languages, current and from before the switch to Bearer, and curl."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.stack import MODEL, clean_environment, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Gateway, Simulator

CLIENTS = Path(__file__).parents[1] / "clients"
SDKS = {
    "python current": ([sys.executable, str(CLIENTS / "messages.py")], "bearer"),
    "python before": ([str(CLIENTS / "python-before/.venv/bin/python"), str(CLIENTS / "messages.py")], "xApiKey"),
    "typescript current": (["node", str(CLIENTS / "messages.mjs"), str(CLIENTS / "typescript-current")], "bearer"),
    "typescript before": (["node", str(CLIENTS / "messages.mjs"), str(CLIENTS / "typescript-before")], "xApiKey"),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Simulator, str]]:
    with running(tmp_path_factory.mktemp("clients"), accounts=("a",)) as (gateway, simulator):
        yield gateway, simulator, gateway.key()


@pytest.mark.xdist_group("clients")
@pytest.mark.parametrize("sdk", list(SDKS))
def test_an_sdk_gets_all_it_asks_for(stack: tuple[Gateway, Simulator, str], sdk: str) -> None:
    gateway, _, key = stack
    command, header = SDKS[sdk]
    done = subprocess.run(
        [*command, gateway.url, key, MODEL],
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["sent"] == {"bearer": header == "bearer", "xApiKey": header == "xApiKey"}
    assert told["requestId"].startswith("req_")
    assert told["unary"]["stop"] in {"end_turn", "max_tokens"}
    assert told["unary"]["text"] > 0
    assert (told["streamed"]["first"], told["streamed"]["last"]) == ("message_start", "message_stop")
    assert told["streamed"]["text"] > 0
    assert told["streamed"]["usage"]["output_tokens"] > 1
    assert (told["tool"]["stop"], told["tool"]["block"]) == ("tool_use", "tool_use")
    assert "city" in told["tool"]["input"]
    assert told["counted"] > 0
    assert MODEL in told["models"]
    assert told["one"] == MODEL
    assert (told["failures"]["model"]["status"], told["failures"]["model"]["name"]) == (404, "NotFoundError")
    assert (told["failures"]["key"]["status"], told["failures"]["key"]["name"]) == (401, "AuthenticationError")


@pytest.mark.xdist_group("clients")
@pytest.mark.parametrize("content_type", [[], ["-H", "content-type: application/json"]])
@pytest.mark.parametrize("credential", ["x-api-key: {}", "authorization: Bearer {}", "x-goog-api-key: {}"])
@pytest.mark.parametrize("stream", [False, True])
def test_curl(stack: tuple[Gateway, Simulator, str], content_type: list[str], credential: str, stream: bool) -> None:
    gateway, _, key = stack
    body = json.dumps(
        {"model": MODEL, "max_tokens": 16, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    )
    command = ["curl", "-sSN", f"{gateway.url}/v1/messages", "-H", credential.format(key), *content_type, "-d", body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    if stream:
        assert done.stdout.rstrip().rpartition("event: ")[2].startswith("message_stop")
    else:
        assert json.loads(done.stdout)["type"] == "message"


@pytest.mark.xdist_group("clients")
def test_the_openai_sdk_reads_the_model_list(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, _, key = stack
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key) as client:
        listed = {row.id: row for row in client.models.list()}
        one = client.models.retrieve(MODEL)
    assert listed[MODEL] == one
    assert (one.object, one.owned_by) == ("model", "anthropic")
    assert one.created > 0
