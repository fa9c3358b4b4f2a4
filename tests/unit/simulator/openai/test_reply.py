"""What is answered: how long, in which form, and why it ends."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.behaviour import Behaviour
from penstock_simulator.openai.asked import Asked, Tool
from penstock_simulator.openai.models import Models, foreign
from penstock_simulator.openai.reply import compose

from .conftest import CITY

MODELS = Models()
FIRST, SECOND = Tool("first", schema=CITY), Tool("second")
PATCH, SEARCH, INNER = Tool("patch", "custom"), Tool("web_search", "web_search"), Tool("first", namespace="crm")


def make(how=None, *, model="gpt-4o", max_tokens=1000, seed=5, **fields):
    asked = Asked({}, MODELS.find(model) or foreign(model), max_tokens, **fields)
    return compose(asked, how or Behaviour(), identity="x", seed=seed, default_tokens=48)


def test_the_same_request_says_the_same_and_another_seed_something_else():
    assert make() == make()
    assert make(seed=6).text != make().text
    assert 48 <= make().output_tokens <= 96


def test_sizes_are_exact():
    reply = make(Behaviour(tokens=200))
    assert (len(reply.text), reply.output_tokens, reply.stop) == (800, 200, "stop")


def test_length_ends_it():
    reply = make(Behaviour(tokens=200), max_tokens=50)
    assert (reply.output_tokens, reply.stop) == (50, "length")


@pytest.mark.parametrize(
    ("effort", "thinking", "tokens"),
    [
        ("none", -1, 0),
        ("none", 9, 0),
        ("minimal", -1, 8),
        ("medium", -1, 32),
        ("high", -1, 64),
        ("low", 5, 5),
        ("low", 0, 0),
    ],
)
def test_reasoning(effort, thinking, tokens):
    reply = make(Behaviour(thinking=thinking, tokens=10), model="gpt-5", effort=effort)
    assert (reply.reasoning_tokens, reply.output_tokens) == (tokens, tokens + 10)


def test_reasoning_may_use_up_everything():
    reply = make(model="gpt-5", effort="medium", max_tokens=16)
    assert (reply.reasoning_tokens, reply.text, reply.stop, reply.output_tokens) == (16, "", "length", 16)


def test_a_compatible_server_reasons_only_when_told():
    assert make(model="qwen").reasoning == ""
    assert make(Behaviour(thinking=7), model="qwen").reasoning_tokens == 7


@pytest.mark.parametrize(
    ("how", "fields", "names"),
    [
        (Behaviour(), {}, []),
        (Behaviour(), {"choice": "required"}, ["first"]),
        (Behaviour(), {"choice": "required", "answered": True}, ["first"]),
        (Behaviour(tool="*"), {}, ["first"]),
        (Behaviour(tool="*"), {"answered": True}, []),
        (Behaviour(tool="second"), {}, ["second"]),
        (Behaviour(tool="nosuch"), {}, ["first"]),
        (Behaviour(tool_bytes=9), {}, ["first"]),
        (Behaviour(tool_input="{}"), {}, ["first"]),
        (Behaviour(tool="*", tools=3), {}, ["first"] * 3),
        (Behaviour(tool="*", tools=3), {"parallel": False}, ["first"]),
        (Behaviour(tool="*"), {"choice": "none"}, []),
        (Behaviour(tool="*"), {"tools": []}, []),
        (Behaviour(tool="*"), {"tools": [SEARCH, SECOND]}, ["second"]),
        (Behaviour(tool="crm.first"), {"tools": [FIRST, INNER]}, ["first"]),
    ],
)
def test_which_tools_are_called(how, fields, names):
    reply = make(how, **{"tools": [FIRST, SECOND]} | fields)
    assert [call.tool.name for call in reply.calls] == names
    assert reply.stop == ("tool_calls" if names else "stop")
    assert bool(reply.text) == (not names)
    assert len({call.id for call in reply.calls}) == len(names)


def test_the_namespace_is_kept():
    (call,) = make(Behaviour(tool="crm.first"), tools=[FIRST, INNER]).calls
    assert call.tool is INNER


@pytest.mark.parametrize("tools", [[SEARCH], [FIRST, SEARCH]])
def test_a_search(tools):
    reply = make(Behaviour(tool="web_search"), tools=tools)
    assert reply.search
    assert reply.text
    assert reply.calls == []


def test_arguments():
    assert set(json.loads(make(choice="required", tools=[FIRST]).calls[0].source)) == {"city"}
    assert make(choice="required", tools=[SECOND]).calls[0].source == "{}"
    exact = Behaviour(tool="*", tool_input='{"a": 1}')
    assert make(exact, tools=[FIRST]).calls[0].source == '{"a": 1}'
    large = json.loads(make(Behaviour(tool_bytes=900), tools=[FIRST]).calls[0].source)
    assert len(large["city"]) == 900
    assert len(json.loads(make(Behaviour(tool_bytes=900), tools=[SECOND]).calls[0].source)["data"]) == 900
    assert make(Behaviour(tool="*", say="*** Begin"), tools=[PATCH]).calls[0].source == "*** Begin"
    assert len(make(Behaviour(tool="*", tool_bytes=70), tools=[PATCH]).calls[0].source) == 70


def test_arguments_that_are_too_long_are_cut():
    reply = make(Behaviour(tool_bytes=900, tools=2), tools=[FIRST], max_tokens=20)
    assert (len(reply.calls), len(reply.calls[0].source), reply.stop) == (1, 80, "length")


def test_stop_sequences():
    reply = make(Behaviour(say="one two three"), stops=["three", "two"])
    assert (reply.text, reply.stop) == ("one ", "stop")


def test_structured_output():
    assert set(json.loads(make(schema=CITY).text)) == {"city"}
    assert set(json.loads(make(json=True).text)) == {"answer"}
    assert make(Behaviour(say="no json"), schema=CITY).text == "no json"


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("content_filter", "content_filter"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("end_turn", "stop"),
        ("failed", "failed"),
        ("odd", "odd"),
    ],
)
def test_a_directive_says_why_it_ends(stop, expected):
    assert make(Behaviour(stop=stop)).stop == expected


def test_a_refusal():
    reply = make(Behaviour(stop="refusal"))
    assert (reply.stop, reply.text) == ("stop", "")
    assert reply.refusal.startswith("I'm sorry")
    assert make(Behaviour(stop="refusal", say="No.")).refusal == "No."


HOWS = st.builds(
    Behaviour,
    tokens=st.integers(-1, 400),
    thinking=st.integers(-1, 100),
    tool=st.sampled_from(["", "*", "second", "web_search"]),
    tools=st.integers(0, 3),
    tool_bytes=st.integers(0, 500),
    stop=st.sampled_from(["", "refusal"]),
    text=st.sampled_from(["ascii", "unicode"]),
)


@given(HOWS, st.integers(1, 300), st.sampled_from(["none", "high"]), st.booleans())
def test_output_never_exceeds_what_is_allowed(how, max_tokens, effort, parallel):
    tools = [FIRST, SECOND, PATCH, SEARCH]
    reply = make(how, model="gpt-5", max_tokens=max_tokens, effort=effort, tools=tools, parallel=parallel)
    assert reply.output_tokens <= max_tokens
    assert reply.chars == len(reply.reasoning + reply.text + reply.refusal + "".join(c.source for c in reply.calls))
