"""Google's own Python SDK as the client: what it sends is understood, what it is sent it understands."""

from __future__ import annotations

import json

import httpx
import pytest
from google import genai
from google.genai import errors, types

from penstock_edge import canonical as c
from penstock_edge import signatures
from penstock_edge.canonical import Message
from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.gemini import DIALECT
from penstock_edge.errors import Problem
from penstock_edge.usage_report import UsageReport

SIGNED = signatures.tag("~~~???>>>", "Anthropic")
USE = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"where": "here"}}


class Gateway:
    """Answers as the gateway would, from canonical answers given in advance."""

    def __init__(self):
        self.answers: list = []
        self.requests: list = []
        self.ignored: list = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        model, _, method = request.url.path.rpartition("/models/")[2].partition(":")
        streamed, counting = method == "streamGenerateContent", method == "countTokens"
        raw = request.content
        head = DIALECT.head(
            raw, model, streamed=streamed, counting=counting, sse=request.url.params.get("alt") == "sse"
        )
        conversation = DIALECT.read(head, raw, Birth("req_" + "2" * 32, 0))
        self.requests.append(conversation.request.body)
        self.ignored.append(conversation.request.ignored)
        answer = self.answers.pop(0)
        if isinstance(answer, Problem):
            return httpx.Response(DIALECT.error_status(answer), content=DIALECT.error_body(answer, "req_1"))
        if counting:
            return httpx.Response(200, content=conversation.counted(answer))
        if not streamed:
            return httpx.Response(200, content=conversation.answer(answer))
        writer = conversation.writer()
        pieces = [
            writer.fail(event) if isinstance(event, Problem) else DIALECT.ping(head) + writer.write(event)
            for event in answer
        ]
        return httpx.Response(200, headers=DIALECT.stream_headers(head), content=b"".join(pieces))


@pytest.fixture
def gateway():
    return Gateway()


@pytest.fixture
def client(gateway):
    transport = httpx.MockTransport(gateway)
    options = types.HttpOptions(base_url="http://gateway.invalid", client_args={"transport": transport})
    return genai.Client(api_key="key", http_options=options)


def text(words):
    return {"type": "text", "text": words}


def message(*content, reason="end_turn"):
    return Message("x", "y", list(content), reason, usage=UsageReport(input_tokens=3, output_tokens=2))


def stream(*content, reason="end_turn"):
    found: list = [c.MessageStart("x", "y")]
    for index, block in enumerate(content):
        found += [c.BlockStart(index, block), c.BlockStop(index)]
    return [*found, c.MessageDelta(reason, usage=UsageReport(input_tokens=3, output_tokens=2)), c.MessageStop()]


def test_everything_that_its_config_can_say(client, gateway):
    gateway.answers = [message(text("[1]"))]
    answer = client.models.generate_content(
        model="claude-x",
        contents=[
            types.Part.from_bytes(data=b"\xfb\xff", mime_type="image/png"),
            types.Part.from_uri(file_uri="https://a.example/b.pdf", mime_type="application/pdf"),
            "what is this?",
        ],
        config=types.GenerateContentConfig(
            system_instruction="be short",
            temperature=0.5,
            max_output_tokens=50,
            stop_sequences=["x"],
            response_mime_type="application/json",
            response_schema=list[int],
            thinking_config=types.ThinkingConfig(thinking_budget=20),
            safety_settings=[types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="OFF")],
        ),
    )
    assert (answer.parsed, answer.usage_metadata.total_token_count, answer.model_version) == ([1], 5, "claude-x")
    # A title that the SDK makes up.
    gateway.requests[0]["output_config"]["format"]["schema"].pop("title", None)
    assert gateway.requests == [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "+/8="}},
                        {"type": "document", "source": {"type": "url", "url": "https://a.example/b.pdf"}},
                        text("what is this?"),
                    ],
                }
            ],
            "system": [text("be short")],
            "temperature": 0.5,
            "max_tokens": 50,
            "stop_sequences": ["x"],
            "output_config": {
                "format": {"type": "json_schema", "schema": {"type": "array", "items": {"type": "integer"}}}
            },
            "thinking": {"type": "enabled", "budget_tokens": 20, "display": "omitted"},
        }
    ]
    assert gateway.ignored == [["safetySettings"]]


def look(where: str) -> str:
    """Look somewhere."""
    return f"a cat {where}"


# Older SDKs look at the types themselves, not at their names.
look.__annotations__ = {"where": str, "return": str}


def test_functions_that_it_calls_by_itself(client, gateway):
    thinking = {"type": "thinking", "thinking": "", "signature": SIGNED}
    gateway.answers = [message(thinking, USE, reason="tool_use"), message(text("a cat"))]
    answer = client.models.generate_content(
        model="m", contents="look", config=types.GenerateContentConfig(tools=[look])
    )
    assert answer.text == "a cat"
    first, second = gateway.requests
    assert first["tools"][0]["name"] == "look"
    schema = first["tools"][0]["input_schema"]
    assert (schema["type"], schema["properties"]["where"]["type"]) == ("object", "string")
    assert second["messages"][1:] == [
        {"role": "assistant", "content": [thinking, USE]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "a cat here"}],
        },
    ]


def test_a_chat_that_streams_keeps_everybodys_thinking(client, gateway):
    content = [{"type": "thinking", "thinking": "Hm.", "signature": SIGNED}, text("hello"), text(" there")]
    gateway.answers = [stream(*content), stream(text("bye"))]
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    chat = client.chats.create(model="m", config=config)
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("hi")) == "hello there"
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("go")) == "bye"
    assert gateway.requests[1]["messages"] == [
        {"role": "user", "content": [text("hi")]},
        {"role": "assistant", "content": [content[0], text("hello there")]},
        {"role": "user", "content": [text("go")]},
    ]


def test_counting(client, gateway):
    gateway.answers = [31]
    assert client.models.count_tokens(model="m", contents="hi").total_tokens == 31
    assert gateway.requests == [{"messages": [{"role": "user", "content": [text("hi")]}]}]


def test_errors(client, gateway):
    gateway.answers = [
        Problem(429, "rate_limit_error", "slow down", retry_after=5),
        [*stream(text("a"))[:3], Problem(529, "overloaded_error", "too much")],
    ]
    with pytest.raises(errors.ClientError) as told:
        client.models.generate_content(model="m", contents="hi")
    assert (told.value.code, told.value.status, told.value.message) == (429, "RESOURCE_EXHAUSTED", "slow down")
    seen = []
    with pytest.raises(errors.ServerError) as broken:
        seen += [chunk.text for chunk in client.models.generate_content_stream(model="m", contents="hi")]
    assert (broken.value.code, broken.value.status) == (503, "UNAVAILABLE")
    assert json.loads(json.dumps(broken.value.details))["error"]["message"] == "too much"
