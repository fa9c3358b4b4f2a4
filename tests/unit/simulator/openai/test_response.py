"""The object of a response, in each state."""

import json

import pytest

from penstock_simulator.behaviour import Behaviour
from penstock_simulator.openai import identities
from penstock_simulator.openai.reply import compose
from penstock_simulator.openai.response import Response
from penstock_simulator.openai.sealed import unseal
from penstock_simulator.openai.usage import Counts

from .conftest import FLAT_TOOL, read_responses, respond

CUSTOM = {"type": "custom", "name": "patch"}


def make(how=None, **fields):
    asked = read_responses(respond(**fields))
    reply = compose(asked, how or Behaviour(), identity="x", seed=5, default_tokens=48)
    return Response("x", "org", 123, asked, reply, Counts.of(10, 4, [reply]))


def unary(how=None, **fields):
    return json.loads(make(how, **fields).unary())


def test_a_text():
    body = unary(Behaviour(tokens=10), metadata={"a": "b"}, instructions="i", model="gpt-4o", temperature=0.5)
    assert (body["object"], body["status"], body["model"], body["created_at"]) == (
        "response",
        "completed",
        "gpt-4o-2024-08-06",
        123,
    )
    (item,) = body["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    (part,) = item["content"]
    assert (part["type"], len(part["text"]), part["annotations"], part["logprobs"]) == ("output_text", 40, [], [])
    assert (body["metadata"], body["instructions"], body["temperature"], body["top_p"]) == ({"a": "b"}, "i", 0.5, 1.0)
    assert body["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert body["reasoning"] == {"effort": None, "summary": None}
    assert (body["error"], body["incomplete_details"], body["store"]) == (None, None, True)
    assert body["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 20,
    }


def test_reasoning_is_hidden_unless_it_is_to_be_summarized():
    hidden, said = unary()["output"]
    assert (hidden["type"], hidden["summary"], said["type"]) == ("reasoning", [], "message")
    assert "encrypted_content" not in hidden
    sealed, _ = unary(include=["reasoning.encrypted_content"])["output"]
    assert unseal("org", sealed["encrypted_content"]) == 32
    shown = unary(reasoning={"summary": "auto"})
    assert len(shown["output"][0]["summary"][0]["text"]) == 128
    assert shown["reasoning"] == {"effort": "medium", "summary": "auto"}
    assert shown["usage"]["output_tokens_details"]["reasoning_tokens"] == 32


def test_calls():
    namespace = {"type": "namespace", "name": "crm", "description": "d", "tools": [FLAT_TOOL]}
    body = unary(Behaviour(tool="*", tools=2), tools=[FLAT_TOOL])
    _, first, second = body["output"]
    assert (first["type"], first["name"], first["status"], "namespace" in first) == (
        "function_call",
        "weather",
        "completed",
        False,
    )
    assert set(json.loads(first["arguments"])) == {"city"}
    assert first["call_id"] != second["call_id"]
    assert unary(Behaviour(tool="*"), tools=[namespace])["output"][1]["namespace"] == "crm"
    custom = unary(Behaviour(tool="*", say="x"), tools=[CUSTOM])["output"][1]
    assert (custom["type"], custom["input"], custom["id"][:4]) == ("custom_tool_call", "x", "ctc_")


def test_ids_tell_that_there_was_reasoning():
    for fields, needed in (({}, True), ({"model": "gpt-4o"}, False)):
        output = unary(Behaviour(tool="*", tools=2), tools=[FLAT_TOOL], **fields)["output"]
        assert len({item["id"] for item in output}) == len(output)
        assert (identities.needs_reasoning(output[-1]["id"]) is not None) == needed
    reasoned = unary()["output"]
    assert reasoned[0]["id"].startswith(identities.needs_reasoning(reasoned[1]["id"]))


def test_a_search():
    _, search, said = unary(Behaviour(tool="web_search"), tools=[{"type": "web_search"}])["output"]
    assert (search["type"], search["status"], search["action"]["type"]) == ("web_search_call", "completed", "search")
    assert said["type"] == "message"


def test_a_refusal():
    part = unary(Behaviour(stop="refusal"))["output"][1]["content"][0]
    assert (part["type"], bool(part["refusal"])) == ("refusal", True)


@pytest.mark.parametrize(
    ("how", "fields", "reason"),
    [
        (Behaviour(tokens=99), {"max_output_tokens": 50}, "max_output_tokens"),
        (Behaviour(stop="max_tokens"), {}, "max_output_tokens"),
        (Behaviour(stop="content_filter"), {}, "content_filter"),
    ],
)
def test_incomplete(how, fields, reason):
    response = make(how, **fields)
    body = json.loads(response.unary())
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert body["output"][-1]["status"] == "incomplete"
    assert (response.stop_reason, body["completed_at"]) == (reason, None)
    assert body["usage"]["output_tokens"] > 0


def test_reasoning_that_used_up_everything_leaves_no_message():
    body = unary(max_output_tokens=16)
    assert [item["type"] for item in body["output"]] == ["reasoning"]
    assert body["status"] == "incomplete"


def test_a_call_that_was_cut():
    body = unary(Behaviour(tool_bytes=900), tools=[FLAT_TOOL], max_output_tokens=60)
    assert body["output"][-1]["status"] == "incomplete"
    with pytest.raises(json.JSONDecodeError):
        json.loads(body["output"][-1]["arguments"])


def test_failed():
    body = unary(Behaviour(stop="failed"))
    assert (body["status"], body["error"]["code"], body["output"], body["usage"]) == (
        "failed",
        "server_error",
        [],
        None,
    )


def test_in_progress():
    shown = make().shown("in_progress")
    assert (shown["status"], shown["output"], shown["usage"], shown["error"]) == ("in_progress", [], None, None)


def test_logprobs():
    asked = {"model": "gpt-4o", "include": ["message.output_text.logprobs"], "top_logprobs": 1}
    part = unary(Behaviour(say="one two"), **asked)["output"][0]["content"][0]
    assert [one["token"] for one in part["logprobs"]] == ["one ", "two"]
