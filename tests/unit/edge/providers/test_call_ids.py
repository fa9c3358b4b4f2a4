"""No two calls of a conversation with Claude or GPT have one id."""

from __future__ import annotations

import copy
import json

from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.openai_chat import DIALECT
from penstock_edge.providers import openai_responses
from penstock_edge.providers.anthropic import WIRE
from penstock_edge.providers.call_ids import call_ids, distinct
from penstock_edge.providers.wire import Addressee


def called(*ids):
    return {"role": "assistant", "content": [{"type": "tool_use", "id": one, "name": "f", "input": {}} for one in ids]}


def answered(*ids):
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": one} for one in ids]}


def shape(messages):
    return [
        [block.get("id") or block.get("tool_use_id") for block in message["content"] if block["type"] != "text"]
        for message in messages
    ]


def numbered_anew():
    """A conversation with a server that numbers the calls of each turn anew."""
    messages = [{"role": "user", "content": "hi"}]
    for words in "abc":
        function = {"name": "f", "arguments": "{}"}
        messages.append(
            {"role": "assistant", "tool_calls": [{"id": "functions.f:0", "type": "function", "function": function}]}
        )
        messages.append({"role": "tool", "tool_call_id": "functions.f:0", "content": words})
    body = json.dumps({"model": "claude-sonnet-4-5", "messages": messages}).encode()
    return DIALECT.read(DIALECT.head(body), body, Birth("req_1", 1)).request


def test_claude_gets_an_id_for_each_call():
    request = numbered_anew()
    before = copy.deepcopy(request.body)
    written = json.loads(WIRE.write(request, Addressee("Anthropic", "claude-sonnet-4-5", 0), streamed=False).body)
    ids = shape(written["messages"])
    assert len({one for turn in ids for one in turn}) == 3
    assert ids[1::2] == ids[2::2]
    assert request.body == before


def test_gpt_gets_an_id_for_each_call():
    request = numbered_anew()
    before = copy.deepcopy(request.body)
    written = json.loads(openai_responses.WIRE.write(request, Addressee("OpenAI", "gpt-5.1", 0), streamed=False).body)
    calls = [item["call_id"] for item in written["input"] if item["type"] == "function_call"]
    outputs = {item["call_id"]: item["output"] for item in written["input"] if item["type"] == "function_call_output"}
    assert [outputs[call] for call in calls] == ["a", "b", "c"]
    assert request.body == before


def test_the_same_in_every_turn_to_come():
    messages = [called("a"), answered("a"), called("a", "b", "a_2"), answered("b", "a_2", "a"), called("a")]
    assert shape(distinct(messages)) == [["a"], ["a"], ["a_2", "b", "a_2_2"], ["b", "a_2_2", "a_2"], ["a_3"]]
    for length in range(len(messages)):
        assert distinct(messages[:length]) == distinct(messages)[:length]


def test_a_result_belongs_to_the_newest_turn():
    messages = [called("a"), {"role": "user", "content": []}, called("a"), answered("a")]
    assert shape(distinct(messages)) == [["a"], [], ["a_2"], ["a_2"]]


def test_very_many_calls_with_one_id():
    many = 30_000
    ids = ["a"] * many
    taken = [f"a_{number}" for number in range(2, many)]
    messages = distinct([called(*taken, *ids), answered(*ids)])
    assert len(set(call_ids(messages))) == 2 * many - 2
    assert messages[1]["content"][-1]["tool_use_id"] == messages[0]["content"][-1]["id"]


def test_calls_of_one_turn_get_their_results_in_order():
    assert shape(distinct([called("a", "a"), answered("a", "a", "a")])) == [["a", "a_2"], ["a", "a_2", "a"]]


@given(st.lists(st.lists(st.sampled_from(["a", "a_2", "a_3", "b"]), max_size=4)))
def test_ids_are_distinct_whatever_they_were(turns):
    messages = [message for turn in turns for message in (called(*turn), answered(*turn))]
    before = copy.deepcopy(messages)
    ids = call_ids(distinct(messages))
    assert len(set(ids)) == len(ids) == sum(map(len, turns))
    assert shape(distinct(messages))[0::2] == shape(distinct(messages))[1::2]
    assert messages == before
