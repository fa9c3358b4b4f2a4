"""What users of five hosted gateways have in their programs, in their languages: only the address and the key are ours.

A box of the checklist of their documents is named by letter and words: A Opulon, B the self-hosted one with `cc_user_`
keys, C OpeAI, D Opper, E OpenLimits.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import openai
import pytest
import requests
from google import genai

from tests.client_stack import CLAUDE, CODEX, GPT, every_provider
from tests.stack import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.client_stack import ClientStack

pytestmark = pytest.mark.xdist_group("clients-samples")

MODEL = "claude-sonnet-4-6"
HELLO = [{"role": "user", "content": "Hello, Claude!"}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientStack]:
    with every_provider(tmp_path_factory.mktemp("samples")) as stack:
        yield stack


@pytest.fixture
def curl(stack: ClientStack):
    """Run a curl sample: $BASE and $KEY are the gateway's; gives the body, and fails on an error status unless told."""

    def curl(arguments: str, body: dict[str, Any] | None = None, *, status: int = 200, key: str = "") -> str:
        command = f"curl -sS -w '\\n%{{http_code}}' {arguments}" + (" -d @-" if body is not None else "")
        done = subprocess.run(
            ["bash", "-c", command],
            input=json.dumps(body) if body is not None else "",
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "BASE": stack.gateway.url, "KEY": key or stack.key},
            timeout=60,
            check=True,
        )
        text, _, code = done.stdout.rpartition("\n")
        assert int(code) == status, done.stdout
        return text

    return curl


@pytest.fixture
def node(stack: ClientStack, tmp_path: Path):
    """Run a JavaScript sample and return the JSON document that it prints."""

    def node(program: str, **variables: str) -> Any:
        done = stack.run("node", "--input-type=module", "-e", program, home=tmp_path, **variables)
        return json.loads(done.stdout)

    return node


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a stream: name and document."""
    found = []
    for part in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.split("\n") if ": " in line)
        if "data" in fields and fields["data"] != "[DONE]":
            found.append((fields.get("event", ""), json.loads(fields["data"])))
    return found


def upstream(stack: ClientStack) -> dict[str, Any]:
    """The body of the last request that reached an account."""
    return dict(json.loads(stack.simulator.body(stack.simulator.messages()[-1])))


MESSAGES = (
    "$BASE/v1/messages -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' -H \"x-api-key: $KEY\""
)


# A: env ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL; drop-in: only base URL and key change
def test_a_the_environment_is_enough(stack, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", stack.key)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", stack.gateway.url)
    with anthropic.Anthropic() as client:
        message = client.messages.create(model=MODEL, max_tokens=1024, messages=HELLO)
    assert message.content[0].text


# A: headers x-api-key, anthropic-version, content-type; response id msg_, type, role, content, model, stop_reason, usage
def test_a_messages(curl):
    body = {"model": "claude-opus-4-20250514", "max_tokens": 1024, "messages": HELLO}
    message = json.loads(curl(MESSAGES, body))
    assert message["id"].startswith("msg_")
    assert (message["type"], message["role"], message["stop_reason"]) == ("message", "assistant", "end_turn")
    assert message["model"] == body["model"]
    assert [block["type"] for block in message["content"]] == ["text"]
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["output_tokens"] > 0


# A: multi-turn, system prompt, params temperature, top_p, stop_sequences
def test_a_every_parameter(stack, curl):
    said = {"role": "assistant", "content": "Hello!"}
    again = {"role": "user", "content": "Count. [[sim: say='one two STOP three']]"}
    body = {
        "model": "claude-3-5-haiku-20241022",
        "max_tokens": 100,
        "messages": [*HELLO, said, again],
        "system": "You are brief.",
        "temperature": 0.7,
        "top_p": 0.9,
        "stop_sequences": ["STOP"],
    }
    message = json.loads(curl(MESSAGES, body))
    assert message["content"][0]["text"] == "one two "
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "STOP")
    assert upstream(stack) == body


# A: SSE message_start, content_block_start, content_block_delta, content_block_stop, message_delta, message_stop
def test_a_a_stream(curl):
    body = {"model": "claude-sonnet-4-20250514", "max_tokens": 100, "stream": True, "messages": HELLO}
    told = events(curl("-N " + MESSAGES, body))
    names = [name for name, _ in told if name != "ping"]
    assert names[:2] == ["message_start", "content_block_start"]
    assert set(names[2:-3]) == {"content_block_delta"}
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert told[-2][1]["delta"]["stop_reason"] in {"end_turn", "max_tokens"}
    assert told[-2][1]["usage"]["output_tokens"] > 0


# A: OpenAI SDK at base + /v1 using the same key
def test_a_openais_sdk(stack):
    with openai.OpenAI(base_url=f"{stack.gateway.url}/v1", api_key=stack.key) as client:
        answer = client.chat.completions.create(model="claude-sonnet-4-20250514", messages=HELLO)
    assert answer.choices[0].message.content


# A: models claude-opus-4-20250514 (32,000 out), claude-sonnet-4-20250514 (16,000), claude-3-5-haiku-20241022 (8,192)
@pytest.mark.parametrize(
    ("model", "most"),
    [("claude-opus-4-20250514", 32_000), ("claude-sonnet-4-20250514", 16_000), ("claude-3-5-haiku-20241022", 8_192)],
)
def test_a_the_largest_answers(curl, model, most):
    body = {"model": model, "max_tokens": most, "messages": [{"role": "user", "content": "[[sim: say=hi]]"}]}
    assert json.loads(curl(MESSAGES, body))["content"][0]["text"] == "hi"
    row = json.loads(curl(f'$BASE/v1/models/{model} -H "x-api-key: $KEY"'))
    assert row["max_tokens"] >= most
    assert row["max_input_tokens"] == 200_000


# A: error {type:error, error:{type,message}}: 400 "model: field required", 401, 404
@pytest.mark.parametrize(
    ("change", "key", "status", "kind"),
    [
        ({"model": None}, "", 400, "invalid_request_error"),
        ({"max_tokens": None}, "", 400, "invalid_request_error"),
        ({"messages": None}, "", 400, "invalid_request_error"),
        ({}, "op-ul-abcdefghij", 401, "authentication_error"),
        ({"model": "claude-none"}, "", 404, "not_found_error"),
    ],
)
def test_a_errors(curl, change, key, status, kind):
    body = {"model": MODEL, "max_tokens": 10, "messages": HELLO} | change
    body = {name: value for name, value in body.items() if value is not None}
    error = json.loads(curl(MESSAGES, body, status=status, key=key))
    assert (error["type"], error["error"]["type"]) == ("error", kind)
    if status == 400:
        (missing,) = change
        assert error["error"]["message"] == f"{missing}: field required"


# B: the streaming sample omits content-type; x-api-key + anthropic-version
def test_b_a_stream_without_content_type(curl):
    body = {"model": MODEL, "max_tokens": 100, "stream": True, "messages": HELLO}
    told = events(curl("-N $BASE/v1/messages -H \"x-api-key: $KEY\" -H 'anthropic-version: 2023-06-01'", body))
    assert told[-1][0] == "message_stop"


# B: POST /v1/chat/completions with Authorization: Bearer and no max_tokens
def test_b_chat_without_max_tokens(stack, curl):
    address = "$BASE/v1/chat/completions -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json'"
    answer = json.loads(curl(address, {"model": MODEL, "messages": HELLO}))
    assert answer["choices"][0]["message"]["content"]
    assert upstream(stack)["max_tokens"] > 1000


# B: vision: image block source{type:base64, media_type, data} beside text
def test_b_vision(stack, curl):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    content = [image, {"type": "text", "text": "What is in this image?"}]
    body = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}
    message = json.loads(curl(MESSAGES, body))
    assert message["usage"]["input_tokens"] >= 1500
    assert upstream(stack) == body


# B: cache_control {type:ephemeral} on message blocks; cached reads cost 10 %
def test_b_the_prompt_cache(stack):
    block = {"type": "text", "text": "B. " * 6000, "cache_control": {"type": "ephemeral"}}
    body = {"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": [block]}]}
    address = f"{stack.gateway.url}/v1/messages"
    answers = [httpx.post(address, json=body, headers={"x-api-key": stack.key}, timeout=90) for _ in range(2)]
    costs = [int(answer.headers["penstock-cost-micro"]) for answer in answers]
    usages = [answer.json()["usage"] for answer in answers]
    written, read = usages[0]["cache_creation_input_tokens"], usages[1]["cache_read_input_tokens"]
    assert written == read > 4000
    # 3.75, 0.30 and 15 USD per million tokens of writing, reading and output; 3 for what is in no cache.
    for cost, usage, price in zip(costs, usages, (375, 30), strict=True):
        cached = usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"]
        assert abs(cost - (cached * price + usage["input_tokens"] * 300 + usage["output_tokens"] * 1500) / 100) <= 1


# B: tools: name, description, input_schema. A: tool use
def test_b_tools(stack):
    tool = {"name": "get_weather", "description": "Get the weather", "input_schema": WEATHER}
    question = {"role": "user", "content": "What is the weather in Bern?"}
    with anthropic.Anthropic(base_url=stack.gateway.url, api_key=stack.key) as client:
        asked = client.messages.create(
            model=MODEL, max_tokens=1024, tools=[tool], tool_choice={"type": "any"}, messages=[question]
        )
        (used,) = [block for block in asked.content if block.type == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": used.id, "content": "sunny"}
        messages = [question, {"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
        answer = client.messages.create(model=MODEL, max_tokens=1024, tools=[tool], messages=messages)
    assert (used.name, set(used.input)) == ("get_weather", {"location"})
    assert answer.stop_reason == "end_turn"


# B: GET /v1/usage/{request_id}: tokens, cache_creation, cost_micro, model; every successful request returns its id
@pytest.mark.parametrize("stream", [False, True])
def test_b_the_usage_of_one_request(stack, stream):
    headers = {"x-api-key": stack.key, "anthropic-version": "2023-06-01"}
    body = {"model": MODEL, "max_tokens": 100, "stream": stream, "messages": HELLO}
    with httpx.Client(base_url=stack.gateway.url, headers=headers, timeout=90) as client:
        answer = client.post("/v1/messages", json=body)
        name = answer.headers["request-id"]
        found = client.get(f"/v1/usage/{name}")
    assert found.status_code == 200
    row = found.json()
    assert row["model"] == MODEL
    assert row["input_tokens"] > 0
    assert row["cache_read_input_tokens"] == row["cache_creation"]["ephemeral_5m_input_tokens"] == 0
    assert row["cost_micro"] == row["input_tokens"] * 3 + row["output_tokens"] * 15
    told = events(answer.text)[-2][1]["usage"] if stream else answer.json()["usage"]
    assert row["output_tokens"] == told["output_tokens"]


# B: 402 insufficient credit, top up; credit and top-up exist
def test_b_credit_and_top_up(stack, curl):
    key = stack.gateway.key("poor", "prepaid")
    body = {"model": MODEL, "max_tokens": 10, "messages": HELLO}
    error = json.loads(curl(MESSAGES, body, status=402, key=key))
    assert error["error"]["type"] == "billing_error"
    stack.gateway.cli("credit", "add", "--project", "poor", "--usd", "1.00")
    # A change reaches the edge in a moment.
    wait_until("credit is there", lambda: "msg_" in _status_or_text(stack, body, key))


def _status_or_text(stack, body, key):
    return httpx.post(f"{stack.gateway.url}/v1/messages", json=body, headers={"x-api-key": key}, timeout=90).text


# B: 401 missing key
def test_b_a_missing_key(curl):
    error = json.loads(curl("$BASE/v1/messages", {"model": MODEL, "max_tokens": 1, "messages": HELLO}, status=401))
    assert error["error"]["type"] == "authentication_error"


# B: SDK @anthropic-ai/sdk (key from env), sample model claude-sonnet-4-6
def test_b_typescript(stack, node):
    from tests.client_stack import CLIENTS

    sdk = (CLIENTS / "typescript-current/node_modules/@anthropic-ai/sdk/index.mjs").as_uri()
    program = f"""
        import Anthropic from "{sdk}";
        const client = new Anthropic();
        const message = await client.messages.create(
          {{ model: "{MODEL}", max_tokens: 1024, messages: [{{ role: "user", content: "Hello" }}] }});
        console.log(JSON.stringify(message));
    """
    message = node(program, ANTHROPIC_API_KEY=stack.key, ANTHROPIC_BASE_URL=stack.gateway.url)
    assert message["type"] == "message"


# C: Authorization: Bearer; anthropic-version optional; sample in curl
def test_c_curl(curl):
    address = "$BASE/v1/messages -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json'"
    message = json.loads(curl(address, {"model": "claude-sonnet-4-5", "max_tokens": 1024, "messages": HELLO}))
    assert (message["type"], message["stop_sequence"]) == ("message", None)


# C: sample in JS fetch
def test_c_javascript(stack, node):
    program = """
        const response = await fetch(`${process.env.BASE}/v1/messages`, {
          method: "POST",
          headers: { "Content-Type": "application/json", Authorization: `Bearer ${process.env.OPEAI_API_KEY}`, "anthropic-version": "2023-06-01" },
          body: JSON.stringify({ model: "claude-sonnet-4-5", max_tokens: 1024, messages: [{ role: "user", content: "Hello" }] }),
        });
        console.log(JSON.stringify({ status: response.status, message: await response.json() }));
    """
    told = node(program, BASE=stack.gateway.url, OPEAI_API_KEY=stack.key)
    assert told["status"] == 200
    assert told["message"]["usage"]["output_tokens"] > 0


# C: sample in Python requests (timeout 60)
def test_c_python(stack):
    response = requests.post(
        f"{stack.gateway.url}/v1/messages",
        headers={"Authorization": f"Bearer {stack.key}", "Content-Type": "application/json"},
        json={"model": "claude-sonnet-4-5", "max_tokens": 1024, "messages": HELLO},
        timeout=60,
    )
    response.raise_for_status()
    assert response.json()["content"][0]["text"]


# C: system (array), tools, tool_choice (object), thinking (object), metadata (object), top_k, content as block array
def test_c_every_field_goes_upstream(stack, curl):
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 4000,
        "system": [{"type": "text", "text": "You are brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "tools": [{"name": "get_weather", "input_schema": WEATHER}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "metadata": {"user_id": "u-1"},
        "top_k": 40,
    }
    curl('$BASE/v1/messages -H "Authorization: Bearer $KEY"', {name: body[name] for name in body if name != "top_k"})
    assert upstream(stack) == {name: body[name] for name in body if name != "top_k"}
    plain = {name: body[name] for name in body if name not in {"thinking", "tools", "tool_choice"}}
    curl('$BASE/v1/messages -H "Authorization: Bearer $KEY"', plain)
    assert upstream(stack) == plain


# C: Claude models only, others must not be used here
def test_c_other_models_are_refused(curl):
    address = '$BASE/v1/messages -H "Authorization: Bearer $KEY"'
    error = json.loads(curl(address, {"model": GPT, "max_tokens": 10, "messages": HELLO}, status=400))
    assert error["error"]["type"] == "invalid_request_error"


# D: compat base /v3/compat for openai (chat.completions), with names provider/model
@pytest.mark.parametrize("model", ["openai/gpt-4.1-nano", "openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5"])
def test_d_openais_sdk(stack, model):
    with openai.OpenAI(base_url=f"{stack.gateway.url}/v3/compat", api_key=stack.key) as client:
        answer = client.chat.completions.create(model=model, messages=HELLO)
        chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert answer.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


# D: compat base /v3/compat for anthropic (messages, max_tokens)
def test_d_anthropics_sdk(stack):
    with anthropic.Anthropic(base_url=f"{stack.gateway.url}/v3/compat", api_key=stack.key) as client:
        message = client.messages.create(model="anthropic/claude-sonnet-4.5", max_tokens=1000, messages=HELLO)
    assert message.content[0].text


# D: compat base /v3/compat for google-genai (generate_content, http_options.base_url), gcp/gemini-2.5-flash-eu
def test_d_googles_sdk(stack):
    client = genai.Client(api_key=stack.key, http_options={"base_url": f"{stack.gateway.url}/v3/compat"})
    answer = client.models.generate_content(model="gcp/gemini-2.5-flash-eu", contents="Hello")
    assert answer.text
    chunks = list(client.models.generate_content_stream(model="gcp/gemini-2.5-flash-eu", contents="Hello"))
    assert chunks[-1].candidates[0].finish_reason.value == "STOP"
    client.close()


# D: openai/text-embedding-3-small; OpenAI (Responses) entrance
def test_d_embeddings_and_responses(stack):
    with openai.OpenAI(base_url=f"{stack.gateway.url}/v3/compat", api_key=stack.key) as client:
        embedded = client.embeddings.create(model="openai/text-embedding-3-small", input="Hello")
        answer = client.responses.create(model="openai/gpt-4o-mini", input="Hello")
    assert len(embedded.data[0].embedding) == 1536
    assert answer.output_text


# E: x-api-key or Authorization: Bearer on every route; samples omit anthropic-version
@pytest.mark.parametrize("header", ["x-api-key: $KEY", "Authorization: Bearer $KEY"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"model": CLAUDE, "max_tokens": 10, "messages": HELLO}),
        ("/v1/chat/completions", {"model": CLAUDE, "max_tokens": 10, "messages": HELLO}),
        ("/v1/responses", {"model": CODEX, "input": "Hello"}),
        ("/v1/models", None),
    ],
)
def test_e_either_header(curl, header, path, body):
    assert curl(f'$BASE{path} -H "{header}"', body)


# E: Claude names and aliases
@pytest.mark.parametrize(
    "model",
    [
        *("claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929"),
        *("claude-opus-4-5-20251101", "claude-sonnet-4-20250514", "claude-opus-4-20250514", "claude-sonnet-4-5"),
        *("claude-opus-4-5", "claude-opus-4-1", "claude-sonnet-4-0", "claude-opus-4-0", "claude-haiku-4-5"),
    ],
)
def test_e_every_claude_name(stack, curl, model):
    listed = {row["id"] for row in json.loads(curl('$BASE/v1/models -H "x-api-key: $KEY"'))["data"]}
    assert model in listed
    message = json.loads(
        curl('$BASE/v1/messages -H "x-api-key: $KEY"', {"model": model, "max_tokens": 5, "messages": HELLO})
    )
    assert message["type"] == "message"
    chat = json.loads(
        curl('$BASE/v1/chat/completions -H "x-api-key: $KEY"', {"model": model, "max_tokens": 5, "messages": HELLO})
    )
    assert chat["object"] == "chat.completion"


# E: output_config{effort}; header anthropic-beta: interleaved-thinking-2025-05-14; cache fields in usage
@pytest.mark.parametrize("effort", ["low", "medium", "high"])
def test_e_effort_and_beta(stack, curl, effort):
    body = {"model": "claude-opus-4-6", "max_tokens": 100, "messages": HELLO, "output_config": {"effort": effort}}
    beta = "interleaved-thinking-2025-05-14"
    usage = json.loads(curl(f'$BASE/v1/messages -H "x-api-key: $KEY" -H "anthropic-beta: {beta}"', body))["usage"]
    assert {"cache_read_input_tokens", "cache_creation_input_tokens"} <= usage.keys()
    assert upstream(stack) == body
    assert dict(stack.simulator.messages()[-1]["headers"])["anthropic-beta"] == beta


# E: forced stream on /v1/responses, store forced false, default instructions; the six Codex models
@pytest.mark.parametrize(
    "model",
    [
        *("gpt-5-codex", "gpt-5.1-codex", "gpt-5.2-codex", "gpt-5.3-codex"),
        *("gpt-5-codex-mini", "gpt-5.1-codex-mini"),
    ],
)
def test_e_responses_of_codex_models_are_streams(stack, curl, model):
    body = {"model": model, "input": "Hello", "stream": False, "store": True}
    told = events(curl('$BASE/v1/responses -H "Authorization: Bearer $KEY"', body))
    assert (told[0][0], told[-1][0]) == ("response.created", "response.completed")
    assert told[-1][1]["response"]["usage"]["output_tokens"] > 0
    sent = upstream(stack)
    assert (sent["model"], sent["stream"], sent["store"]) == (model, True, False)
    assert sent["instructions"]


# E: /v1/chat/completions: system role mapped, max_tokens, stream; the shape of the answer
def test_e_chat(stack, curl):
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 50,
        "messages": [{"role": "system", "content": "You are brief."}, *HELLO],
    }
    answer = json.loads(curl('$BASE/v1/chat/completions -H "Authorization: Bearer $KEY"', body))
    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    assert answer["created"] > 0
    assert answer["model"] == "claude-sonnet-4-5"
    (choice,) = answer["choices"]
    assert (choice["index"], choice["message"]["role"]) == (0, "assistant")
    assert choice["finish_reason"] in {"stop", "length"}
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    sent = upstream(stack)
    assert sent["max_tokens"] == 50
    assert "You are brief." in json.dumps(sent["system"])
    told = events(curl('-N $BASE/v1/chat/completions -H "Authorization: Bearer $KEY"', body | {"stream": True}))
    assert {document["object"] for _, document in told} == {"chat.completion.chunk"}
    assert told[-1][1]["choices"][0]["finish_reason"] in {"stop", "length"}


# E: GET /v1/models: object list, data[{id, object model, owned_by}]
def test_e_models(curl):
    listed = json.loads(curl('$BASE/v1/models -H "x-api-key: $KEY"'))
    assert listed["object"] == "list"
    assert all(row["object"] == "model" and row["owned_by"] for row in listed["data"])


# E: 403 permission_error: token expired, disabled keys 401
def test_e_a_key_that_is_no_longer_good(stack, curl):
    body = {"model": CLAUDE, "max_tokens": 5, "messages": HELLO}
    made = stack.gateway.cli("keys", "create", "--project", "demo", "--plan", "open")
    assert "msg_" in _status_or_text(stack, body, made["key"])
    stack.gateway.cli("keys", "disable", made["id"])
    wait_until("the key is disabled", lambda: "authentication_error" in _status_or_text(stack, body, made["key"]))
    brief = stack.gateway.key("demo", "open", "--expires", "2s")
    wait_until("the key has expired", lambda: "permission_error" in _status_or_text(stack, body, brief))
    curl('$BASE/v1/messages -H "x-api-key: $KEY"', body, status=403, key=brief)
