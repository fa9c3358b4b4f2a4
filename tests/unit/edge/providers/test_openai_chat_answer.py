"""Unary answers of chat.completions, read into the canonical form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import signatures
from penstock_edge.canonical import Message, UnreadableError
from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.openai_chat import DIALECT
from penstock_edge.providers.openai_chat import WIRE
from penstock_edge.usage_report import OutputDetails, UsageReport

OWN = signatures.tag("", "OpenAICompatible")


def answer(message, finish="stop", **fields):
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "finish_reason": finish,
        **fields.pop("choice", {}),
    }
    return json.dumps({"id": "chatcmpl-1", "model": "m", "choices": [choice], **fields}).encode()


def call(arguments="{}", name="f", key="c1", **more):
    return {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def use(given=None, name="f", key="c1"):
    return {"type": "tool_use", "id": key, "name": name, "input": given or {}}


def text(words):
    return {"type": "text", "text": words}


def thinking(words, signature=OWN):
    return {"type": "thinking", "thinking": words, "signature": signature}


@pytest.mark.parametrize(
    ("body", "content", "reason"),
    [
        (answer({"content": "hi"}), [text("hi")], "end_turn"),
        (answer({"content": None}), [], "end_turn"),
        (answer({"content": ""}, None), [], "end_turn"),
        (answer({"content": [text("a"), {"type": "thinking"}, text("b")]}), [text("ab")], "end_turn"),
        (answer({"content": "hi"}, "length"), [text("hi")], "max_tokens"),
        (answer({"content": "hi"}, "content_filter"), [text("hi")], "refusal"),
        (answer({"content": "hi"}, "eos"), [text("hi")], "end_turn"),
        (answer({"content": None, "refusal": "no"}), [text("no")], "refusal"),
        (answer({"content": "hi", "refusal": None}), [text("hi")], "end_turn"),
        (answer({"content": "hi", "reasoning_content": "hm"}), [thinking("hm"), text("hi")], "end_turn"),
        (answer({"content": "hi", "reasoning": "hm"}), [thinking("hm"), text("hi")], "end_turn"),
        (answer({"tool_calls": [call(' {"a":1}')]}, "tool_calls"), [use({"a": 1})], "tool_use"),
        (answer({"tool_calls": [call("")]}, "stop"), [use()], "tool_use"),
        (answer({"tool_calls": [call("null")]}, "function_call"), [use()], "tool_use"),
        (answer({"tool_calls": [call({"a": 1})]}), [use({"a": 1})], "tool_use"),
        (answer({"tool_calls": [call('{"a":')]}, "length"), [use()], "max_tokens"),
        (answer({"tool_calls": []}, "tool_calls"), [], "end_turn"),
        (
            answer({"tool_calls": [call(key=None), call(name="g", key="")]}),
            [use(key="call_chatcmpl-1_0"), use(name="g", key="call_chatcmpl-1_1")],
            "tool_use",
        ),
        (
            answer({"tool_calls": [call(extra_content={"google": {"thought_signature": "sig"}})]}),
            [thinking("", signatures.tag("sig", "OpenAICompatible")), use()],
            "tool_use",
        ),
    ],
)
def test_answers(body, content, reason):
    message = WIRE.parse(body)
    assert (message.content, message.stop_reason, message.stop_sequence) == (content, reason, None)
    assert (message.id, message.model) == ("chatcmpl-1", "m")


def test_a_stop_sequence_where_a_server_names_it():
    message = WIRE.parse(answer({"content": "hi"}, choice={"stop_reason": "END"}))
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")
    message = WIRE.parse(answer({"content": "hi"}, choice={"stop_reason": 128009}))
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)


def test_usage():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 6},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert WIRE.parse(answer({"content": "hi"}, usage=usage)).usage == UsageReport(
        4, 5, 0, 6, output_tokens_details=OutputDetails(2)
    )
    assert WIRE.parse(answer({"content": "hi"})).usage == UsageReport()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":[{}]}',
        b'{"choices":[{"message":5}]}',
        b'{"error":{"message":"m"}}',
        answer({"content": "hi"}, error={"message": "m"}),
        answer({"content": "hi"}, "error"),
        answer({"tool_calls": [call("{")]}, "tool_calls"),
        answer({"tool_calls": [call("[1]")]}, "tool_calls"),
        answer({"tool_calls": [call(5)]}, "tool_calls"),
        answer({"tool_calls": [{"id": "c"}]}, "tool_calls"),
        answer({"tool_calls": [call(name="")]}, "tool_calls"),
        b'{"choices":' + b"[" * 99_999,
    ],
)
def test_what_is_no_answer(body):
    with pytest.raises(UnreadableError):
        WIRE.parse(body)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda x: (
        st.lists(x, max_size=2) | st.dictionaries(st.sampled_from(["type", "name", "google", "x"]), x, max_size=3)
    ),
    max_leaves=5,
)


@given(st.sampled_from(["content", "tool_calls", "reasoning", "refusal", "function"]), junk)
def test_junk_is_unreadable_at_most(name, value):
    message = (
        {"tool_calls": [{"id": value, "function": value, "extra_content": value}]}
        if name == "function"
        else {name: value}
    )
    for body in (answer(message), answer({"content": "x"}, value), answer({"content": "x"}, usage=value, id=value)):
        try:
            WIRE.parse(body)
        except UnreadableError:
            continue


words = st.text(min_size=1, max_size=5)
inputs = st.dictionaries(words, st.integers(-5, 5) | words | st.none(), max_size=2)


@given(
    st.none() | words,
    st.none() | words,
    st.lists(inputs, max_size=3),
    st.sampled_from(["end_turn", "max_tokens"]),
    st.tuples(*[st.integers(0, 99)] * 5),
)
def test_what_this_format_writes_it_reads_again(thought, said, calls, reason, figures):
    content = [thinking(thought)] if thought else []
    content += [text(said)] if said else []
    content += [use(given, key=f"c{place}") for place, given in enumerate(calls)]
    reason = "tool_use" if calls and reason == "end_turn" else reason
    *counts, thoughts = figures
    message = Message(
        "x", "x", content, reason, usage=UsageReport(*counts, output_tokens_details=OutputDetails(thoughts))
    )
    body = b'{"model":"asked","messages":[{"role":"user","content":"hi"}]}'
    written = DIALECT.read(DIALECT.head(body), body, Birth("req_1", 0)).answer(message)
    back = WIRE.parse(written)
    assert (back.content, back.stop_reason) == (content, reason)
    # A total that says otherwise cannot be: what was thought is part of the output.
    assert back.usage == message.usage
