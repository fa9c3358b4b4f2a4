"""Turns that do not belong together."""

import pytest

from penstock_simulator.refusal import RefusalError

from .conftest import HI, chat, read_chat


def call(identity="c1", **fields):
    return {"id": identity, "type": "function", "function": {"name": "t", "arguments": "{}"}, **fields}


def calls(*identities, **fields):
    return {"role": "assistant", "content": None, "tool_calls": [call(one) for one in identities], **fields}


def result(identity="c1", **fields):
    return {"role": "tool", "tool_call_id": identity, "content": "ok", **fields}


FINE = [
    [HI, calls("c1"), result("c1")],
    [HI, calls("c1", "c2"), result("c2"), result("c1"), HI],
    [HI, calls("c1", content="I look."), result("c1"), calls("c1"), result("c1")],
    [HI, calls("c" * 40), result("c" * 40, content=[{"type": "text", "text": "ok"}])],
    [{"role": "assistant", "content": "prefill"}],
    [HI, {"role": "assistant", "content": None, "refusal": "no", "annotations": []}],
    [HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "x"}]}],
    [HI, {"role": "assistant", "content": None, "function_call": {"name": "t", "arguments": "{}"}}],
    [HI, {"role": "function", "name": "t", "content": None}],
    [HI, {"role": "assistant", "content": "", "tool_calls": None, "audio": None, "function_call": None}],
    [{"role": "user", "content": "", "name": "n"}],
]


@pytest.mark.parametrize("messages", FINE)
def test_what_is_fine(messages):
    read_chat(chat(messages=messages))


UNANSWERED = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
)
REFUSED = [
    ([{"content": "x"}], "messages[0].role", "Missing required parameter: 'messages[0].role'."),
    ([{"role": "human", "content": "x"}], "messages[0].role", "'system', 'assistant', 'user', 'function', 'tool', and"),
    ([{"role": "user"}], "messages[0].content", "Missing required parameter: 'messages[0].content'."),
    ([{"role": "user", "content": None}], "messages.[0].content", "expected a string, got null."),
    (
        [{"role": "user", "content": 3}],
        "messages[0].content",
        "expected one of a string or array of objects, but got an",
    ),
    ([{"role": "assistant", "content": None}], "messages.[0].content", "expected a string, got null."),
    ([{"role": "assistant"}], "messages.[0].content", "expected a string, got null."),
    (
        [{"role": "system", "content": [{"type": "image_url"}]}],
        "messages[0].content[0].type",
        "Invalid value: 'image_url'",
    ),
    ([{"role": "function", "content": "x"}], "messages[0].name", "Missing required parameter"),
    ([result()], "messages.[0].role", "must be a response to a preceeding message with 'tool_calls'"),
    ([HI, result()], "messages.[1].role", "must be a response to a preceeding message with 'tool_calls'"),
    ([calls("c1"), result("c1"), HI, result("c1")], "messages.[3].role", "must be a response to a preceeding message"),
    ([calls("c1"), result("c2")], "messages.[1].tool_call_id", "'tool_call_id' of 'c2' not found in 'tool_calls'"),
    ([calls("c1"), result("c1"), result("c1")], "messages.[2].tool_call_id", "Duplicate value for 'tool_call_id'"),
    ([calls("c1"), result(tool_call_id=...)], "messages[1].tool_call_id", "Missing required parameter"),
    ([calls("c1")], "messages.[0].role", UNANSWERED),
    ([calls("c1", "c2"), result("c1"), HI], "messages.[2].role", "did not have response messages: c2"),
    ([calls("c1"), calls("c1"), result("c1")], "messages.[1].role", UNANSWERED),
    ([calls()], "messages[0].tool_calls", "empty array"),
    ([calls("c" * 41), result("c" * 41)], "messages[0].tool_calls[0].id", "Expected a string with maximum length 40"),
    ([calls() | {"tool_calls": [call(type="tool")]}], "messages[0].tool_calls[0].type", "'function' and 'custom'"),
    (
        [calls() | {"tool_calls": [call(function={"name": "t", "arguments": {}})]}],
        "messages[0].tool_calls[0].function.arguments",
        "expected a string, but got an object instead.",
    ),
]


@pytest.mark.parametrize(("messages", "param", "words"), REFUSED)
def test_what_is_refused(messages, param, words):
    messages = [{name: value for name, value in one.items() if value is not ...} for one in messages]
    with pytest.raises(RefusalError) as refused:
        read_chat(chat(messages=messages))
    assert words in refused.value.message
    assert (refused.value.status, refused.value.param) == (400, param)


def test_results_are_noticed():
    assert read_chat(chat(messages=[HI, calls("c1"), result("c1")])).answered
    assert not read_chat(chat(messages=[HI, calls("c1"), result("c1"), HI])).answered
