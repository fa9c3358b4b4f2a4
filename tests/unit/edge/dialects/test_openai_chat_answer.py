"""Answers and streams as chat.completions writes them; the SDK's own models read them."""

from __future__ import annotations

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from penstock_edge import signatures
from penstock_edge.canonical import (
    BlockStart,
    BlockStop,
    CitationDelta,
    InputDelta,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.openai_chat import DIALECT
from penstock_edge.errors import Problem
from penstock_edge.usage_report import OutputDetails, UsageReport

BIRTH = Birth("req_" + "0" * 32, 1_700_000_000)
USAGE = UsageReport(
    input_tokens=1,
    output_tokens=8,
    cache_creation_input_tokens=2,
    cache_read_input_tokens=4,
    output_tokens_details=OutputDetails(3),
)
WHOLE = {
    "prompt_tokens": 7,
    "completion_tokens": 8,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
GEMINI = signatures.tag("sig", "Gemini")
CLAUDE = signatures.tag("sig", "Anthropic")


def conversation(**fields):
    body = json.dumps({"model": "asked", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()
    return DIALECT.read(DIALECT.head(body), body, BIRTH)


def text(words):
    return {"type": "text", "text": words}


def use(name="f", given=None, key="c1"):
    return {"type": "tool_use", "id": key, "name": name, "input": given or {}}


def thinking(words, signature=""):
    return {"type": "thinking", "thinking": words, "signature": signature}


def call(name="f", arguments="{}", key="c1", **more):
    return {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def signed(signature):
    return {"extra_content": {"google": {"thought_signature": signature}}}


REFUSED = "The model refused to answer this request."


@pytest.mark.parametrize(
    ("content", "reason", "message", "finish"),
    [
        ([text("a"), text("b")], "end_turn", {"content": "ab"}, "stop"),
        ([], "end_turn", {"content": None}, "stop"),
        ([text("a")], "stop_sequence", {"content": "a"}, "stop"),
        ([text("a")], "pause_turn", {"content": "a"}, "stop"),
        ([text("a")], "max_tokens", {"content": "a"}, "length"),
        ([text("a")], "model_context_window_exceeded", {"content": "a"}, "length"),
        ([text("a")], "refusal", {"content": "a", "refusal": REFUSED}, "content_filter"),
        ([], "refusal", {"content": None, "refusal": REFUSED}, "content_filter"),
        (
            [text("a"), use(given={"x": "é"}), use("g", key="c2")],
            "tool_use",
            {"content": "a", "tool_calls": [call(arguments='{"x":"é"}'), call("g", key="c2")]},
            "tool_calls",
        ),
        (
            [thinking("hm", "s"), text("a")],
            "end_turn",
            {"content": "a", "reasoning_content": "hm"},
            "stop",
        ),
        (
            [thinking("", GEMINI), use(), use("g", key="c2")],
            "tool_use",
            {"content": None, "tool_calls": [call(**signed(GEMINI)), call("g", key="c2")]},
            "tool_calls",
        ),
        (
            [thinking("hm", CLAUDE), use(), thinking("", CLAUDE), use("g", key="c2")],
            "tool_use",
            {
                "content": None,
                "reasoning_content": "hm",
                "tool_calls": [call(), call("g", key="c2", **signed(CLAUDE))],
            },
            "tool_calls",
        ),
        (
            [thinking("", GEMINI), text("a"), use()],
            "tool_use",
            {"content": "a", "tool_calls": [call()]},
            "tool_calls",
        ),
        ([{"type": "server_tool_use", "id": "x"}, text("a")], "end_turn", {"content": "a"}, "stop"),
    ],
)
def test_a_unary_answer(content, reason, message, finish):
    raw = conversation().answer(Message("msg_1", "claude", content, reason, usage=USAGE))
    answer = json.loads(raw)
    assert answer == {
        "id": "chatcmpl-" + "0" * 32,
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "asked",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "refusal": None, **message},
                "logprobs": None,
                "finish_reason": finish,
            }
        ],
        "usage": WHOLE,
    }
    ChatCompletion.model_validate(answer, strict=True)


def test_names_go_back_and_old_clients_get_function_call():
    name = "mcp.server/tool"
    talk = conversation(functions=[{"name": name}])
    fit = talk.request.body["tools"][0]["name"]
    answer = json.loads(talk.answer(Message("m", "m", [use(fit, {"a": 1})], "tool_use")))
    choice = answer["choices"][0]
    assert choice["message"]["function_call"] == {"name": name, "arguments": '{"a":1}'}
    assert choice["finish_reason"] == "function_call"
    assert "tool_calls" not in choice["message"]
    ChatCompletion.model_validate(answer)
    parts = [BlockStart(0, use(fit)), InputDelta(0, '{"a":'), InputDelta(0, "1}"), BlockStop(0)]
    chunks, done = chunks_of(talk.writer(), [MessageStart("m", "m"), *parts, MessageDelta("tool_use"), MessageStop()])
    assert done
    assert [chunk["choices"][0]["delta"] for chunk in chunks[1:4]] == [
        {"function_call": {"name": name, "arguments": ""}},
        {"function_call": {"arguments": '{"a":'}},
        {"function_call": {"arguments": "1}"}},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


def chunks_of(writer, events):
    """Return the chunks, and whether the stream ended as it should."""
    raw = b"".join(writer.write(event) for event in events)
    parts = raw.split(b"\n\n")
    assert parts.pop() == b""
    done = parts[-1] == b"data: [DONE]"
    chunks = []
    for part in parts[: -1 if done else None]:
        assert part.startswith(b"data: ") and b"\n" not in part
        chunk = json.loads(part[6:])
        ChatCompletionChunk.model_validate(chunk)
        chunks.append(chunk)
    return chunks, done


STREAM = [
    MessageStart(
        "msg_1", "claude", UsageReport(input_tokens=1, cache_creation_input_tokens=2, cache_read_input_tokens=4)
    ),
    BlockStart(0, thinking("")),
    ThinkingDelta(0, "hm"),
    SignatureDelta(0, CLAUDE),
    BlockStop(0),
    BlockStart(1, text("")),
    TextDelta(1, "a\u2028"),
    CitationDelta(1, {}),
    BlockStop(1),
    BlockStart(2, thinking("")),
    SignatureDelta(2, GEMINI),
    BlockStop(2),
    BlockStart(3, use()),
    InputDelta(3, ""),
    InputDelta(3, '{"x":'),
    InputDelta(3, "1}"),
    BlockStop(3),
    BlockStart(4, use("g", key="c2")),
    BlockStop(4),
    BlockStart(5, use("h", {"y": 2}, key="c3")),
    BlockStop(5),
    BlockStart(6, {"type": "server_tool_use", "id": "x", "name": "w", "input": {}}),
    InputDelta(6, "{}"),
    BlockStop(6),
    MessageDelta("tool_use", usage=UsageReport(output_tokens=3)),
    MessageDelta(usage=UsageReport(output_tokens=8, output_tokens_details=OutputDetails(3))),
    MessageStop(),
]


def test_a_stream():
    chunks, done = chunks_of(conversation(stream=True, stream_options={"include_usage": True}).writer(), STREAM)
    assert done
    for chunk in chunks:
        assert (chunk["id"], chunk["created"], chunk["model"]) == ("chatcmpl-" + "0" * 32, 1_700_000_000, "asked")
        assert chunk["object"] == "chat.completion.chunk"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == WHOLE
    assert all(chunk["usage"] is None and len(chunk["choices"]) == 1 for chunk in chunks[:-1])
    assert [(chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks[:-1]] == [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"reasoning_content": "hm"}, None),
        ({"content": "a\u2028"}, None),
        ({"tool_calls": [{"index": 0, **call(arguments="", **signed(GEMINI))}]}, None),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}, None),
        ({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}, None),
        ({"tool_calls": [{"index": 1, **call("g", "", "c2")}]}, None),
        ({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}, None),
        ({"tool_calls": [{"index": 2, **call("h", '{"y":2}', "c3")}]}, None),
        ({}, "tool_calls"),
    ]


def test_usage_is_told_only_to_those_who_asked():
    chunks, done = chunks_of(conversation(stream=True).writer(), STREAM)
    assert done
    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)


def test_a_refusal_and_a_ping():
    writer = conversation().writer()
    assert writer.write(Ping()) == b": keep-alive\n\n"
    chunks, done = chunks_of(writer, [MessageStart("m", "m"), MessageDelta("refusal"), MessageStop()])
    assert done
    assert chunks[-1]["choices"][0]["delta"] == {"refusal": REFUSED}
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"


@pytest.mark.parametrize("gone", range(len(STREAM)))
def test_a_failed_stream_never_looks_finished(gone):
    writer = conversation(stream=True).writer()
    raw = b"".join(writer.write(event) for event in STREAM[:gone])
    end = writer.fail(Problem(529, "overloaded_error", "no\n\nmore"))
    assert b"[DONE]" not in raw + end
    assert b'"finish_reason":"' not in raw + end
    assert end.endswith(b"}\n\n") and end.count(b"\n\n") == 1
    assert json.loads(end.removeprefix(b"data: "))["error"]["type"] == "server_error"


def test_a_signature_that_goes_out_comes_back():
    raw = conversation().answer(Message("m", "m", [thinking("", GEMINI), use()], "tool_use"))
    message = json.loads(raw)["choices"][0]["message"]
    back = conversation(messages=[{"role": "user", "content": "hi"}, message])
    assert back.request.body["messages"][1]["content"] == [thinking("", GEMINI), use()]
