"""What a client of the format says reaches an account of the format whole, even by way of the canonical form."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import signatures
from penstock_edge.canonical import (
    BlockStart,
    BlockStop,
    InputDelta,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.openai_responses import DIALECT
from penstock_edge.providers.openai_responses import WIRE
from penstock_edge.providers.wire import Addressee
from penstock_edge.sse import EventSplitter
from penstock_edge.usage_report import OutputDetails, UsageReport

BIRTH = Birth("req_0198c1c0d1e27f3a8b4c5d6e7f809102", 1)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
INPUTS = st.dictionaries(WORDS, st.none() | st.integers() | WORDS, max_size=3)
# What only the gateway's own way round may change is left to others: see the tests of the two sides.
OWN = st.builds(
    lambda text: signatures.tag(json.dumps({"id": "rs_1", "encrypted_content": text}, separators=(",", ":")), "OpenAI"),
    st.text("abc", min_size=1),
)


def read(body):
    return DIALECT.read(DIALECT.head(body), body, BIRTH)


def again(request, model="gpt-5.6"):
    return read(WIRE.write(request, Addressee("OpenAI", model, 0), streamed=True).body).request


PARTS = st.one_of(
    WORDS.map(lambda text: {"type": "input_text", "text": text}),
    st.sampled_from(
        [
            {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
            {"type": "input_image", "image_url": "https://x.example/a.png"},
            {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
            {"type": "input_file", "file_url": "https://x.example/a.pdf"},
        ]
    ),
)


@st.composite
def inputs(draw):
    items = [{"role": "user", "content": draw(WORDS)}]
    for number in range(draw(st.integers(0, 4))):
        match draw(st.sampled_from(["user", "assistant", "call", "custom", "reasoning", "developer"])):
            case "user":
                items.append({"role": "user", "content": draw(st.lists(PARTS, min_size=1, max_size=3))})
            case "assistant":
                items.append({"role": "assistant", "content": [{"type": "output_text", "text": draw(WORDS)}]})
            case "developer":
                items.append({"role": "developer", "content": draw(WORDS)})
            case "reasoning":
                summary = [{"type": "summary_text", "text": draw(WORDS)}]
                items.append({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": draw(WORDS)})
                # Reasoning is never without what it was for.
                items.append({"role": "assistant", "content": draw(WORDS)})
            case "call":
                call_id, arguments = f"call_{number}", json.dumps(draw(INPUTS))
                items += [
                    {"type": "function_call", "call_id": call_id, "name": "f", "arguments": arguments},
                    {"type": "function_call_output", "call_id": call_id, "output": draw(st.text("ab"))},
                ]
            case _:
                call_id = f"call_{number}"
                items += [
                    {"type": "custom_tool_call", "call_id": call_id, "name": "c", "input": draw(WORDS)},
                    {
                        "type": "custom_tool_call_output",
                        "call_id": call_id,
                        "output": draw(st.lists(PARTS, min_size=2)),
                    },
                ]
    return items


@given(
    inputs(),
    st.fixed_dictionaries(
        {},
        optional={
            "instructions": WORDS,
            "max_output_tokens": st.integers(16, 10**6),
            "prompt_cache_key": st.text("abc", min_size=1, max_size=64),
            "reasoning": st.sampled_from(
                [{"effort": e, "summary": "auto"} for e in ("low", "high", "xhigh", "max", "none")]
            ),
            "tools": st.just([{"type": "function", "name": "f"}, {"type": "custom", "name": "c", "description": "d"}]),
            "tool_choice": st.just("auto"),
            "parallel_tool_calls": st.booleans(),
            "text": st.sampled_from([{"format": {"type": "json_object"}}, {"format": {"type": "text"}}]),
        },
    ),
)
def test_requests(items, fields):
    body = json.dumps({"model": "gpt", "input": [{"role": "developer", "content": "json"}, *items]} | fields).encode()
    request = read(body).request
    returned = again(request)
    for tool in request.body.get("tools", ()):
        # The upstream wants them said.
        tool["input_schema"].setdefault("properties", {})
    assert returned.body == request.body
    assert returned.extras == request.extras
    assert returned.ignored == []


def _with_own_id(block, place):
    return block | {"id": f"call_{place}"} if block["type"] == "tool_use" else block


BLOCKS = st.lists(
    st.one_of(
        WORDS.map(lambda text: {"type": "text", "text": text}),
        st.builds(lambda text, sig: {"type": "thinking", "thinking": text, "signature": sig}, st.text("ab\n"), OWN),
        st.builds(lambda given: {"type": "tool_use", "id": "call_1", "name": "f", "input": given}, INPUTS),
    ),
    max_size=5,
).map(lambda blocks: [_with_own_id(block, place) for place, block in enumerate(blocks)])
FIGURES = st.integers(0, 10**6)
USAGES = st.builds(
    lambda given, said, read, written, thought: UsageReport(
        input_tokens=given,
        output_tokens=said,
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
        output_tokens_details=OutputDetails(thinking_tokens=thought),
    ),
    *[FIGURES] * 5,
)


def reasons(content):
    usual = "tool_use" if any(block["type"] == "tool_use" for block in content) else "end_turn"
    return st.sampled_from([usual, "max_tokens", *(["refusal"] if content else [])])


def returning(message):
    """Return what the signature of thinking becomes: a client shows it, and the account's side tags it again."""
    content = []
    for block in message.content:
        if block["type"] == "thinking":
            (again,) = read_back(block)
            content.append(again)
        else:
            content.append(block)
    return content


def read_back(block):
    conversation = read(b'{"model":"gpt","input":"x"}')
    output = json.loads(conversation.answer(Message("m", "m", [block], "end_turn")))["output"]
    items = [{"role": "user", "content": "x"}, *output]
    return read(json.dumps({"model": "gpt", "input": items}).encode()).request.body["messages"][1]["content"]


@given(BLOCKS)
def test_what_was_said_comes_back_as_it_was(content):
    assert returning(Message("m", "m", content, "end_turn")) == content


@given(st.data())
def test_answers(data):
    content = [block for block in data.draw(BLOCKS) if block["type"] != "thinking"]
    message = Message("m", "gpt", content, data.draw(reasons(content)), usage=data.draw(USAGES))
    conversation = read(b'{"model":"gpt","input":"x"}')
    parsed = WIRE.parse(conversation.answer(message))
    assert (parsed.content, parsed.stop_reason, parsed.usage) == (content, message.stop_reason, message.usage)


def streamed(content):
    yield MessageStart("m", "gpt")
    for index, block in enumerate(content):
        match block["type"]:
            case "text":
                yield BlockStart(index, {"type": "text", "text": ""})
                yield TextDelta(index, block["text"])
            case "thinking":
                yield BlockStart(index, {"type": "thinking", "thinking": "", "signature": ""})
                yield ThinkingDelta(index, block["thinking"])
                yield SignatureDelta(index, block["signature"])
            case _:
                yield BlockStart(index, block | {"input": {}})
                yield InputDelta(index, json.dumps(block["input"]))
        yield BlockStop(index)


@given(st.data())
def test_streams(data):
    content = [block for block in data.draw(BLOCKS) if block["type"] != "thinking"]
    reason, usage = data.draw(reasons(content)), data.draw(USAGES)
    events = [*streamed(content), MessageDelta(reason, None, usage), MessageStop()]
    writer = read(b'{"model":"gpt","input":"x"}').writer()
    stream = b"".join(writer.write(event) for event in events)
    parser, splitter = WIRE.parser(), EventSplitter()
    cut = data.draw(st.integers(0, len(stream)))
    raws = splitter.feed(stream[:cut]) + splitter.feed(stream[cut:])
    found = [event for raw in raws for event in parser.feed(raw)]
    assert found[1:] == events[1:]
