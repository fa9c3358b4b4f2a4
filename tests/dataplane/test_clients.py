"""Real clients against real processes: SDKs of both languages, current and of an older major version, and curl."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.client_stack import CLAUDE, CLIENTS, CODEX, GEMINI, GPT, PYTHONS, every_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client_stack import ClientStack

pytestmark = pytest.mark.xdist_group("clients")

NODES = {name: ["node", f"{CLIENTS}/{{}}", str(CLIENTS / f"typescript-{name}")] for name in ("current", "before")}


def driver(name: str) -> list[str]:
    """The command that runs `python current openai_sdk` and its like."""
    language, age, program = name.split()
    if language == "python":
        return [PYTHONS[age], str(CLIENTS / f"{program}.py")]
    command, path, folder = NODES[age]
    return [command, path.format(f"{program}.mjs"), folder]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientStack]:
    with every_provider(tmp_path_factory.mktemp("clients")) as stack:
        yield stack


@pytest.fixture
def drive(stack: ClientStack, tmp_path):
    def drive(name: str, *models: str) -> dict[str, Any]:
        done = stack.run(*driver(name), stack.gateway.url, stack.key, *models, home=tmp_path)
        return dict(json.loads(done.stdout))

    return drive


@pytest.mark.parametrize(
    ("sdk", "header"),
    [
        ("python current messages", "bearer"),
        ("python before messages", "xApiKey"),
        ("typescript current messages", "bearer"),
        ("typescript before messages", "xApiKey"),
    ],
)
# A: the Anthropic SDKs. B: anthropic-sdk-python and @anthropic-ai/sdk. E: Anthropic SDK Py/TS
def test_anthropics_sdks(drive, sdk: str, header: str) -> None:
    told = drive(sdk, CLAUDE)
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
    assert CLAUDE in told["models"]
    assert told["one"] == CLAUDE
    assert (told["failures"]["model"]["status"], told["failures"]["model"]["name"]) == (404, "NotFoundError")
    assert (told["failures"]["key"]["status"], told["failures"]["key"]["name"]) == (401, "AuthenticationError")


@pytest.mark.parametrize(
    ("sdk", "chat", "responses"),
    [
        ("python current openai_sdk", GPT, GPT),
        ("python current openai_sdk", CLAUDE, GEMINI),
        ("python before openai_sdk", GEMINI, CLAUDE),
        ("typescript current openai_sdk", CLAUDE, GPT),
        ("typescript before openai_sdk", GPT, CLAUDE),
    ],
)
# A: OpenAI SDK at base + /v1 with the same key. B: openai-python. E: OpenAI SDK Py
def test_openais_sdks(drive, sdk: str, chat: str, responses: str) -> None:
    told = drive(sdk, chat, responses)
    said = told["chat"]
    assert said["requestId"].startswith("req_")
    assert said["unary"]["object"] == "chat.completion"
    assert said["unary"]["id"].startswith("chatcmpl-")
    assert said["unary"]["finish"] in {"stop", "length"}
    assert said["unary"]["text"] > 0
    for usage in (said["unary"]["usage"], said["streamed"]["usage"]):
        assert usage["prompt_tokens"] > 0
        assert usage["completion_tokens"] > 0
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert said["streamed"]["finish"] in {"stop", "length"}
    assert said["streamed"]["text"] > 0
    assert (said["tool"]["finish"], said["tool"]["name"]) == ("tool_calls", "weather")
    assert "city" in said["tool"]["input"]
    assert said["second"]["text"] > 0
    answered = told["responses"]
    assert answered["unary"]["status"] == "completed"
    assert answered["unary"]["text"] > 0
    assert answered["unary"]["usage"]["output_tokens"] > 0
    assert (answered["streamed"]["first"], answered["streamed"]["last"]) == ("response.created", "response.completed")
    assert answered["streamed"]["deltas"] > 1
    assert answered["tool"]["name"] == "weather"
    assert "city" in answered["tool"]["input"]
    assert answered["second"]["text"] > 0
    assert told["embeddings"] == [1536, 1536]
    assert {CLAUDE, GPT, GEMINI, CODEX} <= set(told["models"])
    assert told["one"] == chat
    assert told["failures"]["model"] == {"status": 404, "code": "model_not_found", "name": "NotFoundError"}
    assert told["failures"]["key"] == {"status": 401, "code": "invalid_api_key", "name": "AuthenticationError"}


@pytest.mark.parametrize(
    ("sdk", "model"),
    [
        ("python current google_sdk", GEMINI),
        ("python current google_sdk", CLAUDE),
        ("python before google_sdk", GEMINI),
        ("python before google_sdk", GPT),
    ],
)
# D: the Gemini entrance (Generate Content) for google-genai
def test_googles_sdks(drive, sdk: str, model: str) -> None:
    told = drive(sdk, model)
    assert told["unary"]["text"] > 0
    assert told["unary"]["finish"] == "STOP"
    usage = told["unary"]["usage"]
    thought = usage.get("thoughts_token_count", 0)
    assert usage["total_token_count"] == usage["prompt_token_count"] + usage["candidates_token_count"] + thought
    assert told["streamed"]["chunks"] > 1
    assert told["streamed"]["text"] > 0
    assert told["streamed"]["output"] > 0
    assert told["tool"]["name"] == "weather"
    assert "city" in told["tool"]["input"]
    assert told["second"]["text"] > 0
    assert told["counted"] > 0
    assert told["failures"]["model"] == {"code": 404, "status": "NOT_FOUND"}
    assert told["failures"]["key"] == {"code": 401, "status": "UNAUTHENTICATED"}


@pytest.mark.parametrize("content_type", [[], ["-H", "content-type: application/json"]])
@pytest.mark.parametrize("credential", ["x-api-key: {}", "authorization: Bearer {}", "x-goog-api-key: {}"])
@pytest.mark.parametrize("stream", [False, True])
def test_curl(stack: ClientStack, content_type: list[str], credential: str, stream: bool) -> None:
    body = json.dumps(
        {"model": CLAUDE, "max_tokens": 16, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    )
    url, header = f"{stack.gateway.url}/v1/messages", credential.format(stack.key)
    command = ["curl", "-sSN", url, "-H", header, *content_type, "-d", body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    if stream:
        assert done.stdout.rstrip().rpartition("event: ")[2].startswith("message_stop")
    else:
        assert json.loads(done.stdout)["type"] == "message"


def test_the_openai_sdk_reads_the_model_list(stack: ClientStack) -> None:
    with openai.OpenAI(base_url=f"{stack.gateway.url}/v1", api_key=stack.key) as client:
        listed = {row.id: row for row in client.models.list()}
        one = client.models.retrieve(CLAUDE)
    assert listed[CLAUDE] == one
    assert (one.object, one.owned_by) == ("model", "anthropic")
    assert one.created > 0
