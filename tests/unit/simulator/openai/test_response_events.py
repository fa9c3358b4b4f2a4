"""The events of a response: their order, their numbers, and that they tell what one body tells."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.behaviour import Behaviour
from penstock_simulator.openai.response_events import ResponseStream

from .conftest import FLAT_TOOL
from .test_response import CUSTOM, make


def parsed(data):
    events = []
    for block in data.split(b"\n\n")[:-1]:
        if block.startswith(b":"):
            continue
        name, _, body = block.partition(b"\n")
        event = json.loads(body.removeprefix(b"data: "))
        assert name.removeprefix(b"event: ").decode() == event["type"]
        events.append(event)
    return events


def stream(how=None, **fields):
    how = how or Behaviour()
    found = list(ResponseStream(make(how, stream=True, **fields), how).events())
    return found, parsed(b"".join(event.data for event in found))


def names(how=None, **fields):
    return [event["type"].removeprefix("response.") for event in stream(how, **fields)[1]]


TEXT = ["output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"]
OPENING, ENDING = ["created", "in_progress"], ["output_item.done", "completed"]


def test_the_order_of_a_text():
    assert names(Behaviour(tokens=5), model="gpt-4o") == [*OPENING, *TEXT, *ENDING]


def test_the_order_of_reasoning():
    hidden = ["output_item.added", "output_item.done"]
    assert names(Behaviour(tokens=5)) == [*OPENING, *hidden, *TEXT, *ENDING]
    summary = [f"reasoning_summary_{name}" for name in ("part.added", "text.delta", "text.done", "part.done")]
    shown = names(Behaviour(tokens=5, thinking=5), reasoning={"summary": "detailed"})
    assert shown == [*OPENING, "output_item.added", *summary, "output_item.done", *TEXT, *ENDING]


@pytest.mark.parametrize(("tool", "kind"), [(FLAT_TOOL, "function_call_arguments"), (CUSTOM, "custom_tool_call_input")])
def test_the_order_of_calls(tool, kind):
    call = ["output_item.added", f"{kind}.delta", f"{kind}.done", "output_item.done"]
    how = Behaviour(tool="*", tools=2, chunks=1)
    assert names(how, model="gpt-4o", tools=[tool]) == [*OPENING, *call, *call, "completed"]


def test_the_order_of_a_search():
    search = [f"web_search_call.{state}" for state in ("in_progress", "searching", "completed")]
    how = Behaviour(tool="*", tokens=5)
    found = names(how, model="gpt-4o", tools=[{"type": "web_search"}])
    assert found == [*OPENING, "output_item.added", *search, "output_item.done", *TEXT, *ENDING]


def test_the_order_of_a_refusal():
    refused = ["content_part.added", "refusal.delta", "refusal.done", "content_part.done"]
    how = Behaviour(stop="refusal", chunks=1)
    assert names(how, model="gpt-4o") == [*OPENING, "output_item.added", *refused, *ENDING]


@pytest.mark.parametrize(
    ("stop", "last"), [("content_filter", "incomplete"), ("max_tokens", "incomplete"), ("failed", "failed")]
)
def test_other_ends(stop, last):
    found, events = stream(Behaviour(stop=stop))
    assert events[-1]["type"] == f"response.{last}"
    assert events[-1]["response"]["status"] == last
    assert (found[-1].usage is None) == (last == "failed")


def test_usage_is_told_by_the_last_event_only():
    found, events = stream(Behaviour(tokens=10), model="gpt-4o")
    assert [event.usage for event in found[:-1]] == [None] * (len(found) - 1)
    assert (found[-1].usage.input_tokens, found[-1].usage.cache_read_input_tokens, found[-1].usage.output_tokens) == (
        6,
        4,
        10,
    )
    assert all(event["response"]["usage"] is None for event in events[:2])


def test_what_is_announced_is_not_yet_there():
    _, events = stream(Behaviour(tool="*"), tools=[FLAT_TOOL], include=["reasoning.encrypted_content"])
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [item["id"] for item in added] == [item["id"] for item in done]
    assert (added[1]["arguments"], added[1]["status"]) == ("", "in_progress")
    assert done[0]["encrypted_content"].startswith(added[0]["encrypted_content"])
    assert len(added[0]["encrypted_content"]) < len(done[0]["encrypted_content"])


@pytest.mark.parametrize("given", range(2, 9))
def test_a_failure_takes_the_place_of_an_event(given):
    how = Behaviour(error="rate_limit_exceeded", message="slow down")
    events = ResponseStream(make(how, model="gpt-4o"), how)
    flow = events.events()
    sent = [next(flow) for _ in range(given)][:-1]
    error, failed = parsed(events.failure())
    assert [event["sequence_number"] for event in parsed(b"".join(e.data for e in sent))] == list(range(given - 1))
    assert error == {
        "type": "error",
        "sequence_number": given - 1,
        "code": "rate_limit_exceeded",
        "message": "slow down",
        "param": None,
    }
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", given)
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "slow down"}
    assert (failed["response"]["status"], failed["response"]["output"]) == ("failed", [])


def test_padding():
    _, events = stream(Behaviour(chunks=3))
    deltas = [event for event in events if event["type"].endswith(".delta")]
    assert {(len(event["delta"]) + len(event["obfuscation"])) % 16 for event in deltas} == {0}
    _, plain = stream(stream_options={"include_obfuscation": False})
    assert not any("obfuscation" in event for event in plain)


HOWS = st.builds(
    Behaviour,
    tokens=st.integers(-1, 200),
    chunks=st.integers(0, 9),
    tool=st.sampled_from(["", "*", "patch", "web_search"]),
    tools=st.integers(1, 3),
    tool_bytes=st.integers(0, 300),
    text=st.sampled_from(["ascii", "unicode"]),
    stop=st.sampled_from(["", "refusal", "content_filter"]),
    thinking=st.integers(-1, 50),
    pings=st.integers(0, 2),
)


@given(HOWS, st.integers(16, 200), st.sampled_from(["gpt-4o", "gpt-5", "gpt-5.3-codex"]), st.booleans())
def test_stream_and_unary_tell_the_same(how, most, model, summarized):
    fields = {"max_output_tokens": most, "model": model, "tools": [FLAT_TOOL, CUSTOM, {"type": "web_search"}]}
    if summarized and model != "gpt-4o":
        fields["reasoning"] = {"summary": "auto"}
    response = make(how, stream=True, **fields)
    found, events = stream(how, **fields)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert all(one.phase <= other.phase for one, other in pairwise(found))
    assert events[-1]["response"] == json.loads(response.unary())
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    for index, item in enumerate(done):
        deltas = [e["delta"] for e in events if e["type"].endswith(".delta") and e["output_index"] == index]
        whole = {
            "message": lambda i: i["content"][0].get("text", i["content"][0].get("refusal")),
            "function_call": lambda i: i["arguments"],
            "custom_tool_call": lambda i: i["input"],
            "reasoning": lambda i: "".join(part["text"] for part in i["summary"]),
            "web_search_call": lambda i: "",
        }[item["type"]](item)
        assert "".join(deltas) == whole
    hidden = 0 if response.summarized else len(response.reply.reasoning)
    assert sum(event.chars for event in found) + hidden == response.reply.chars
