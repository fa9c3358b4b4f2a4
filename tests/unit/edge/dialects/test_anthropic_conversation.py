"""A Messages request for accounts of other formats: brought into canonical shape, and answered in its own."""

from __future__ import annotations

import json
import re

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import canonical, signatures
from penstock_edge.canonical import Message
from penstock_edge.dialects.anthropic import DIALECT
from penstock_edge.dialects.dialect import Birth
from penstock_edge.errors import Problem, ProblemError
from penstock_edge.providers import anthropic as provider
from penstock_edge.providers.wire import Signal
from penstock_edge.usage import UsageMeter
from penstock_edge.usage_report import OutputDetails, UsageReport

BIRTH = Birth("req_0123", 1_790_000_000)
TEXT = {"type": "text", "text": "hi"}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "42"}
FOUND = {"type": "search_result", "title": "Cats", "source": "https://x.example", "content": [TEXT, TEXT]}
FOUND_TEXT = {"type": "text", "text": "Cats\n\nhttps://x.example\n\nhi\n\nhi"}


def converse(**fields):
    body = json.dumps({"model": "gpt-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields})
    return DIALECT.read(DIALECT.head(body.encode()), body.encode(), BIRTH)


@pytest.mark.parametrize(
    ("messages", "canonical_messages"),
    [
        ([{"role": "user", "content": "hi"}], [{"role": "user", "content": [TEXT]}]),
        ([{"role": "user", "content": [TEXT]}] * 2, [{"role": "user", "content": [TEXT, TEXT]}]),
        (
            [{"role": "user", "content": ""}, {"role": "assistant", "content": "hi"}],
            [{"role": "assistant", "content": [TEXT]}],
        ),
        (
            [{"role": "user", "content": [TEXT, {"type": "text", "text": ""}, RESULT]}],
            [{"role": "user", "content": [RESULT, TEXT]}],
        ),
        (
            [{"role": "user", "content": "hi"}, {"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
            [{"role": "user", "content": [TEXT, TEXT]}],
        ),
        (
            [{"role": "user", "content": [FOUND | {"cache_control": {"type": "ephemeral"}}, TEXT]}],
            [{"role": "user", "content": [FOUND_TEXT | {"cache_control": {"type": "ephemeral"}}, TEXT]}],
        ),
        (
            [
                {
                    "role": "user",
                    "content": [FOUND | {"content": [TEXT | {"cache_control": {"type": "ephemeral"}}, TEXT]}],
                }
            ],
            [{"role": "user", "content": [FOUND_TEXT | {"cache_control": {"type": "ephemeral"}}]}],
        ),
        (
            [{"role": "user", "content": [{**RESULT, "content": [TEXT, FOUND]}]}],
            [{"role": "user", "content": [{**RESULT, "content": [TEXT, FOUND_TEXT]}]}],
        ),
        (
            [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "x"}, TEXT]}],
            [{"role": "assistant", "content": [TEXT]}],
        ),
    ],
)
def test_messages_take_canonical_shape(messages, canonical_messages):
    assert converse(messages=messages).request.body["messages"] == canonical_messages


def test_what_is_not_carried_is_named():
    request = converse(
        context_management={"edits": []},
        metadata=None,
        system="be brief",
        messages=[
            {"role": "user", "content": "hi"},
            {"role": "system", "content": "now"},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}, TEXT]},
        ],
    ).request
    assert request.ignored == ["context_management", "messages.2.content.0 (redacted_thinking)"]
    assert request.body["system"] == [{"type": "text", "text": "be brief"}, {"type": "text", "text": "now"}]
    assert set(request.body) == {"max_tokens", "messages", "system"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": [5]}, "messages.0: Input should be a valid dictionary"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Input should be a valid list"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0.type: field required"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text: field required"),
        (
            {"messages": [{"role": "user", "content": [{"type": "container_upload"}]}]},
            "messages.0.content.0.type: container_upload blocks cannot be carried to this model",
        ),
        (
            {"messages": [{"role": "user", "content": [{**FOUND, "content": None}]}]},
            "messages.0.content.0.content: Input should be a valid list",
        ),
        (
            {"messages": [{"role": "user", "content": [{**RESULT, "content": [TEXT, {**FOUND, "title": None}]}]}]},
            "messages.0.content.0.content.1: Input should have a title, a source and texts",
        ),
        (
            {"messages": [{"role": "user", "content": [{**FOUND, "content": [TEXT, "x"]}]}]},
            "messages.0.content.0: Input should have a title, a source and texts",
        ),
        ({"system": [{"type": "image", "source": {}}]}, "system: only text can be carried here"),
        ({"temperature": "hot"}, "temperature: Input should be of another type"),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"temperature": True}, "temperature: Input should be of another type"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
        (
            {"messages": [{"role": "user", "content": [{**RESULT, "content": 5}]}]},
            "messages.0.content.0.content: Input should be of another type",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": []}]}]},
            "messages.0.content.0.signature: Input should be of another type",
        ),
        ({"thinking": {"type": ["enabled"]}}, "thinking.type: field required"),
        ({"tool_choice": {"type": {}}}, "tool_choice.type: field required"),
        ({"stop_sequences": ["a", 5]}, "stop_sequences: Input should be a list of strings"),
        ({"tools": [{}]}, "tools.0.name: field required"),
        ({"tools": [{"name": "f", "type": ["custom"]}]}, "tools.0.type: Input should be of another type"),
        ({"tools": [{"name": "f", "description": 5}]}, "tools.0.description: Input should be of another type"),
        ({"tools": [{"name": "f", "input_schema": "{}"}]}, "tools.0.input_schema: Input should be of another type"),
        ({"messages": []}, "messages: at least one message with content is required"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages: at least one message with content is required"),
    ],
)
def test_what_is_wrong_is_named(fields, message):
    with pytest.raises(ProblemError) as refusal:
        converse(**fields)
    assert (refusal.value.problem.status, refusal.value.problem.message) == (400, message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.sampled_from(["type", "text", "role", "content"]), x),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["messages", "system", "tools", "thinking", "stop_sequences", "x"]), JSON))
def test_any_request_is_read_or_refused(fields):
    try:
        converse(**fields)
    except ProblemError as refusal:
        assert refusal.problem.status == 400  # noqa: PT017 -- either outcome is right


USAGE = UsageReport(
    input_tokens=3, output_tokens=7, cache_read_input_tokens=11, output_tokens_details=OutputDetails(thinking_tokens=2)
)
THINKING = {"type": "adaptive"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}


def test_a_unary_answer_is_what_the_sdk_reads():
    body = converse(thinking=THINKING).answer(
        Message("up", "gpt-5-2025", [THOUGHT, TEXT, CALL], "tool_use", None, USAGE)
    )
    message = anthropic.types.Message.model_validate_json(body, strict=False)
    assert (message.id, message.model, message.stop_reason, message.role) == (
        "msg_0123",
        "gpt-5",
        "tool_use",
        "assistant",
    )
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3, 7)
    assert (message.usage.cache_read_input_tokens, message.usage.cache_creation_input_tokens) == (11, 0)


EVENTS = [
    canonical.MessageStart("up", "gpt-5-2025", UsageReport(input_tokens=3)),
    canonical.BlockStart(0, {"type": "thinking", "thinking": "", "signature": ""}),
    canonical.ThinkingDelta(0, "hm"),
    canonical.SignatureDelta(0, "c2ln"),
    canonical.BlockStop(0),
    canonical.BlockStart(1, {"type": "text", "text": ""}),
    canonical.TextDelta(1, "h\u2028i"),
    canonical.Ping(),
    canonical.BlockStop(1),
    canonical.BlockStart(2, {"type": "tool_use", "id": "t1", "name": "f", "input": {}}),
    canonical.InputDelta(2, '{"a":1}'),
    canonical.BlockStop(2),
    canonical.MessageDelta("tool_use", None, USAGE),
    canonical.MessageStop(),
]


def split(written):
    return [raw + b"\n\n" for raw in b"".join(written).split(b"\n\n")[:-1]]


def test_a_stream_has_this_formats_events_in_order():
    writer = converse(stream=True, thinking=THINKING).writer()
    written = split(writer.write(event) for event in EVENTS)
    names = [raw.split(b"\n")[0].removeprefix(b"event: ").decode() for raw in written]
    assert names == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "ping",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    for name, raw in zip(names, written, strict=True):
        assert raw.endswith(b"\n\n")
        assert json.loads(raw.split(b"\ndata: ", 1)[1])["type"] == name
    meter = UsageMeter()
    sniffer = provider.WIRE.sniffer(meter)
    assert [sniffer.observe(raw) for raw in written][-1] is Signal.STOP
    assert (sniffer.characters, meter.usage().whole_input, meter.usage().output_tokens) == (12, 14, 7)


def test_its_own_wire_reads_what_it_wrote_but_for_the_tags():
    writer, parser = converse(thinking=THINKING).writer(), provider.WIRE.parser()
    read = [event for raw in split(writer.write(event) for event in EVENTS) for event in parser.feed(raw)]
    assert [type(event) for event in read] == [type(event) for event in EVENTS]
    assert (read[6].text, read[10].partial_json, read[12].stop_reason) == ("h\u2028i", '{"a":1}', "tool_use")


def test_a_failure_is_an_error_event_and_no_end():
    raw = converse().writer().fail(Problem(502, "api_error", "the provider failed"))
    name, data = raw.split(b"\n", 1)
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: ")) == {
        "type": "error",
        "error": {"type": "api_error", "message": "the provider failed"},
        "request_id": "req_0123",
    }


def test_what_claude_would_refuse_in_the_next_turn_is_not_said_in_this_one():
    """Ids of some servers' calls, and thinking that nobody signed."""
    thought, call = {**THOUGHT, "signature": ""}, {**CALL, "id": "functions.f:0"}
    unary = json.loads(converse(thinking=THINKING).answer(Message("up", "m", [thought, call], "tool_use")))["content"]
    writer = converse(thinking=THINKING).writer()
    events = [
        canonical.BlockStart(0, {"type": "thinking", "thinking": "", "signature": ""}),
        canonical.ThinkingDelta(0, "hm"),
        canonical.SignatureDelta(0, ""),
        canonical.BlockStop(0),
        canonical.BlockStart(1, {**call, "input": {}}),
        canonical.BlockStop(1),
    ]
    raw = b"".join(writer.write(event) for event in events)
    told = [json.loads(line[6:]) for line in raw.decode().split("\n") if line.startswith("data: ")]
    assert [event["type"].removeprefix("content_block_") for event in told] == [
        *("start", "delta", "delta", "stop"),
        *("start", "stop"),
    ]
    assert told[2]["delta"]["signature"] == unary[0]["signature"]
    assert signatures.origin(unary[0]["signature"]) == "nobody"
    assert told[4]["content_block"]["id"] == unary[1]["id"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", unary[1]["id"])


SIGNED = signatures.tag("sig", "Gemini")
NAMELESS = signatures.tag("", "OpenAICompatible")


def thought(signature, words="hm"):
    return {"type": "thinking", "thinking": words, "signature": signature}


def streamed(content):
    """Return a stream's events for blocks, deltas and all."""
    yield canonical.MessageStart("up", "m")
    for index, block in enumerate(content):
        if block["type"] == "thinking":
            yield canonical.BlockStart(index, thought("", ""))
            yield canonical.ThinkingDelta(index, block["thinking"])
            yield canonical.SignatureDelta(index, block["signature"])
        elif block["type"] == "text":
            yield canonical.BlockStart(index, {"type": "text", "text": ""})
            yield canonical.TextDelta(index, block["text"])
        else:
            yield canonical.BlockStart(index, {**block, "input": {}})
            yield canonical.InputDelta(index, json.dumps(block["input"]))
        yield canonical.BlockStop(index)
    yield canonical.MessageDelta("end_turn")
    yield canonical.MessageStop()


def gathered(raw):
    """Put a stream together as the SDK does; its own reader sees that indexes and order are right."""
    content = []
    for line in raw.decode().split("\n"):
        if not line.startswith("data: "):
            continue
        event = json.loads(line[6:])
        if event["type"] == "content_block_start":
            assert event["index"] == len(content)
            content.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            assert event["index"] == len(content) - 1
            kind, block = event["delta"]["type"], content[-1]
            if kind == "input_json_delta":
                block["input"] = json.loads(event["delta"]["partial_json"])
            else:
                name = kind.removesuffix("_delta")
                block[name] += event["delta"][name]
    return content


AGAIN = {**CALL, "id": "t2"}
CONTENT = [thought(SIGNED), TEXT, thought(NAMELESS), thought(SIGNED, ""), thought(SIGNED), CALL, AGAIN, thought(SIGNED)]
SILENT = thought(SIGNED, "")


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        # Who did not ask may look for a text in the first block; a call's own signature comes back with its result.
        ({}, [TEXT, SILENT, SILENT, CALL, AGAIN]),
        ({"thinking": {"type": "disabled"}}, [TEXT, SILENT, SILENT, CALL, AGAIN]),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            [SILENT, TEXT, thought(NAMELESS, ""), SILENT, SILENT, CALL, AGAIN],
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, CONTENT),
        ({"thinking": {"type": "between_tools"}}, CONTENT),
    ],
)
def test_a_client_sees_as_much_thinking_as_it_asked_for(asked, seen):
    unary = json.loads(converse(**asked).answer(Message("up", "m", CONTENT, "end_turn")))
    assert unary["content"] == seen
    writer = converse(**asked).writer()
    assert gathered(b"".join(writer.write(event) for event in streamed(CONTENT))) == seen


@pytest.mark.parametrize(("told", "shown"), [(None, 77), (0, 0), (5, 5)])
def test_what_an_upstream_tells_only_at_the_end_is_estimated_at_the_beginning(told, shown):
    body = b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}'
    writer = DIALECT.read(DIALECT.head(body), body, Birth("req_0123", 0, 77)).writer()
    start = writer.write(canonical.MessageStart("up", "m", UsageReport(input_tokens=told)))
    assert json.loads(start.split(b"data: ")[1])["message"]["usage"]["input_tokens"] == shown
    end = writer.write(canonical.MessageDelta("end_turn", usage=UsageReport(input_tokens=6, output_tokens=1)))
    assert json.loads(end.split(b"data: ")[1])["usage"]["input_tokens"] == 6


@pytest.mark.parametrize("asked", [{}, {"thinking": THINKING}, {"thinking": {**THINKING, "display": "omitted"}}])
def test_no_answer_ends_with_thinking_without_words(asked):
    """Claude Code takes the last block for the result; Gemini 3 signs its texts behind them."""
    content = [TEXT, SILENT]
    assert json.loads(converse(**asked).answer(Message("up", "m", content, "end_turn")))["content"] == [TEXT]
    writer = converse(**asked).writer()
    assert gathered(b"".join(writer.write(event) for event in streamed(content))) == [TEXT]


def test_a_call_never_has_the_id_of_an_earlier_one():
    call = {"type": "tool_use", "id": "call_0", "name": "f", "input": {}}
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [call, {**call, "id": "call_0_2"}]},
        {"role": "user", "content": [{**RESULT, "tool_use_id": "call_0"}, {**RESULT, "tool_use_id": "call_0_2"}]},
    ]
    conversation = converse(messages=history)
    message = Message("x", "m", [call, {**call, "id": "new"}, call], "tool_use")
    blocks = json.loads(conversation.answer(message))["content"]
    assert [block["id"] for block in blocks] == ["call_0_3", "new", "call_0_4"]
    writer = conversation.writer()
    starts = [writer.write(canonical.BlockStart(place, block)) for place, block in enumerate(message.content)]
    assert [re.findall(rb'"id":"(\w+)"', start) for start in starts] == [[b"call_0_3"], [b"new"], [b"call_0_4"]]
    assert call["id"] == "call_0"
