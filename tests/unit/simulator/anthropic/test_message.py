import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.anthropic import events
from penstock_simulator.anthropic.check import Checked
from penstock_simulator.anthropic.message import compose
from penstock_simulator.anthropic.models import Models
from penstock_simulator.behaviour import Behaviour, DirectiveError, behaviour, parse, read_fields
from penstock_simulator.cache import Split
from penstock_simulator.text import tokens

MODEL = Models().find("claude-sonnet-4-6")
TOOLS = [
    {"name": "first", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
    {"name": "second", "input_schema": {"type": "object"}},
]
SPLIT = Split(10, 3, 2, 1)


def make(how=None, *, max_tokens=1000, seed=5, **fields):
    checked = Checked({}, MODEL, max_tokens, **fields)
    return compose(checked, how or Behaviour(), identity="x", seed=seed, default_tokens=48)


def kinds(message):
    return [block.kind for block in message.blocks]


def test_the_same_request_says_the_same_and_another_seed_something_else():
    assert make().blocks[0].text == make().blocks[0].text
    assert make(seed=6).blocks[0].text != make().blocks[0].text


def test_the_size_is_exact():
    message = make(Behaviour(tokens=200))
    assert (message.output_tokens, message.stop_reason, len(message.blocks[0].text)) == (200, "end_turn", 800)
    assert make(Behaviour(say="hello")).output_tokens == 2


def test_stop_reasons():
    assert make(Behaviour(tokens=20), max_tokens=10).stop_reason == "max_tokens"
    assert make(Behaviour(tokens=20), max_tokens=10).output_tokens == 10
    stopped = make(Behaviour(say="one END two"), stop_sequences=["END", "two"])
    assert (stopped.stop_reason, stopped.stop_sequence, stopped.blocks[0].text) == ("stop_sequence", "END", "one ")
    assert make(Behaviour(stop="refusal")).stop_reason == "refusal"


def test_no_tokens_at_all_warm_the_cache():
    message = make(max_tokens=0, thinking="adaptive")
    assert (message.blocks, message.stop_reason, message.output_tokens) == ([], "max_tokens", 0)


def test_thinking_comes_first_with_a_signature_and_counts_when_hidden():
    message = make(Behaviour(thinking=20, tokens=10), thinking="adaptive")
    assert kinds(message) == ["thinking", "text"]
    assert message.blocks[0].signature
    assert (message.output_tokens, message.thinking_tokens) == (30, 20)
    hidden = make(Behaviour(thinking=20, tokens=10), thinking="adaptive", thinking_shown=False)
    assert (hidden.blocks[0].text, hidden.output_tokens) == ("", 30)
    assert hidden.blocks[0].signature == message.blocks[0].signature
    assert kinds(make(Behaviour(thinking=0), thinking="adaptive")) == ["text"]
    assert kinds(make(thinking="adaptive", max_tokens=1)) == ["text"]
    assert make(Behaviour(thinking=9999), thinking="enabled", thinking_budget=24).thinking_tokens == 24


@pytest.mark.parametrize(
    ("choice", "how", "called"),
    [
        (None, Behaviour(), []),
        (None, Behaviour(tool="second"), ["second"]),
        (None, Behaviour(tool="*"), ["first"]),
        ({"type": "any"}, Behaviour(), ["first"]),
        ({"type": "tool", "name": "second"}, Behaviour(), ["second"]),
        ({"type": "none"}, Behaviour(tool="first"), []),
        ({"type": "any"}, Behaviour(tools=3), ["first"] * 3),
        ({"type": "any", "disable_parallel_tool_use": True}, Behaviour(tools=3), ["first"]),
    ],
)
def test_calls(choice, how, called):
    message = make(how, tools=TOOLS, tool_choice=choice)
    assert [block.name for block in message.blocks if block.kind == "tool_use"] == called
    assert (message.stop_reason == "tool_use") == bool(called)
    assert len({block.id for block in message.blocks}) == len(message.blocks)


def test_a_huge_input_is_as_huge_as_max_tokens_allows():
    big = make(Behaviour(tool_bytes=400_000), max_tokens=128_000, tools=TOOLS)
    assert len(json.loads(big.blocks[0].text)["city"]) == 400_000
    cut = make(Behaviour(tool_bytes=400_000), max_tokens=100, tools=TOOLS)
    assert cut.blocks[0].text == "{}"


def test_structured_output_follows_the_schema():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert isinstance(json.loads(make(schema=schema).blocks[0].text)["n"], int)


HOWS = st.builds(
    Behaviour,
    tokens=st.integers(0, 300),
    chunks=st.integers(0, 40),
    thinking=st.integers(-1, 80),
    text=st.sampled_from(["ascii", "unicode"]),
    tool=st.sampled_from(["", "first"]),
    tools=st.integers(1, 3),
    tool_bytes=st.sampled_from([0, 500]),
    pings=st.integers(0, 2),
    usage=st.sampled_from(["full", "output"]),
    usage_updates=st.integers(0, 3),
)


def test_a_tool_can_be_given_its_exact_input():
    how = behaviour([read_fields(parse("""tool=second tool_input='{"command": "echo hi"}'"""))])
    (block,) = make(how, tools=TOOLS).blocks
    assert (block.name, json.loads(block.text)) == ("second", {"command": "echo hi"})
    assert read_fields({"tool_input": {"a": 1}}) == {"tool_input": '{"a": 1}'}


@pytest.mark.parametrize("text", ["[1]", "{", "text"])
def test_a_tools_input_is_an_object(text):
    with pytest.raises(DirectiveError, match="tool_input"):
        read_fields({"tool_input": text})


@given(HOWS, st.integers(0, 400), st.sampled_from(["disabled", "adaptive"]), st.booleans())
def test_stream_and_unary_tell_the_same(how, max_tokens, thinking, shown):
    message = make(how, max_tokens=max_tokens, thinking=thinking, thinking_shown=shown, tools=TOOLS)
    assert message.output_tokens <= max_tokens
    whole = json.loads(events.unary(message, SPLIT))
    sent = list(events.stream(message, SPLIT, how))
    documents = [json.loads(event.data.split(b"\ndata: ", 1)[1]) for event in sent]
    assert [event.data.split(b"\n")[0][7:].decode() for event in sent] == [document["type"] for document in documents]
    assert documents[0]["type"] == "message_start"
    assert documents[-2]["type"] == "message_delta"
    assert documents[-1]["type"] == "message_stop"
    assert rebuilt(documents) == whole["content"]
    assert documents[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert documents[-2]["usage"]["output_tokens"] == whole["usage"]["output_tokens"] == message.output_tokens
    # What the record is told is what stands in the events.
    last = [event.usage for event in sent if event.usage is not None][-1]
    assert last.output_tokens == message.output_tokens
    outputs = [event.usage.output_tokens for event in sent if event.usage is not None]
    assert outputs == sorted(outputs)
    assert [event.phase for event in sent] == sorted(event.phase for event in sent)
    visible = sum(event.chars for event in sent)
    assert visible == message.chars or not shown
    assert tokens(visible) <= message.output_tokens


def rebuilt(documents):
    blocks, source = [], ""
    for document in documents:
        match document["type"]:
            case "content_block_start":
                assert document["index"] == len(blocks)
                blocks.append(document["content_block"])
                source = ""
            case "content_block_delta":
                delta = document["delta"]
                match delta["type"]:
                    case "input_json_delta":
                        source += delta["partial_json"]
                    case "text_delta":
                        blocks[-1]["text"] += delta["text"]
                    case "thinking_delta":
                        blocks[-1]["thinking"] += delta["thinking"]
                    case "signature_delta":
                        blocks[-1]["signature"] += delta["signature"]
            case "content_block_stop" if blocks[-1]["type"] == "tool_use":
                blocks[-1]["input"] = json.loads(source)
    return blocks


def test_usage_on_the_wire():
    message = make(Behaviour(tokens=7))
    usage = json.loads(events.unary(message, SPLIT))["usage"]
    assert usage["input_tokens"] == 10
    assert usage["cache_read_input_tokens"] == 3
    assert usage["cache_creation_input_tokens"] == 3
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 1}
    start = next(events.stream(message, SPLIT, Behaviour()))
    assert json.loads(start.data.split(b"data: ", 1)[1])["message"]["usage"] == usage | {"output_tokens": 1}
