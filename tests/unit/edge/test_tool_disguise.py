"""Tools with names that a provider does not take: there in disguise, back under the client's own."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.canonical import Request
from penstock_edge.dialects import anthropic, openai_chat
from penstock_edge.dialects.dialect import Birth
from penstock_edge.passage import TranslatedPassage
from penstock_edge.providers import gemini, openai_responses
from penstock_edge.providers.wire import Addressee
from penstock_edge.tool_disguise import disguised
from penstock_edge.usage import UsageMeter

LONG = "mcp__a-server-with-a-long-name__and_a_tool_whose_name_is_longer_still"
TAKEN = {
    "Gemini": re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}"),
    "OpenAI": re.compile(r"[a-zA-Z0-9_-]{1,64}"),
    "OpenAICompatible": re.compile(r"[a-zA-Z0-9_-]{1,64}"),
    "Anthropic": re.compile(r"[a-zA-Z0-9_-]{1,128}"),
}


def asking(*names):
    call = {"type": "tool_use", "id": "c1", "name": names[0], "input": {}}
    return {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "well"}, call]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "ok"}]},
        ],
        "tools": [{"name": name, "input_schema": {"type": "object"}} for name in names],
        "tool_choice": {"type": "tool", "name": names[0]},
    }


def names_in(body):
    called = [block["name"] for turn in body["messages"] for block in turn["content"] if block["type"] == "tool_use"]
    return [*called, *(tool["name"] for tool in body["tools"]), body["tool_choice"]["name"]]


@pytest.mark.parametrize("provider", TAKEN)
@given(names=st.lists(st.from_regex(r"[a-zA-Z0-9_-]{1,128}", fullmatch=True), min_size=1, max_size=5, unique=True))
def test_every_name_is_one_that_the_provider_takes_and_leads_back(provider, names):
    body = asking(*names)
    before = json.dumps(body)
    request, back = disguised(Request(body), provider)
    assert json.dumps(body) == before
    assert all(TAKEN[provider].fullmatch(name) for name in names_in(request.body))
    assert [back.get(name, name) for name in names_in(request.body)] == names_in(body)
    assert disguised(Request(asking(*reversed(names))), provider)[1] == back, "the same in every turn"


def test_names_that_fit_leave_the_request_as_it_is():
    request = Request(asking("weather"))
    assert disguised(request, "Gemini") == (request, {})
    assert disguised(request, "Gemini")[0] is request


def test_a_providers_own_tools_keep_their_names():
    body = {"messages": [], "tools": [{"type": "x_20250101", "name": LONG}]}
    assert disguised(Request(body), "OpenAI")[1] == {}


def conversation(dialect, body):
    raw = json.dumps(body).encode()
    return dialect.read(dialect.head(raw), raw, Birth("req_" + "0" * 32, 1))


MESSAGES = {"model": "m", "max_tokens": 99, **asking(LONG, "1st")}
CHAT = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [{"type": "function", "function": {"name": name}} for name in (LONG, "1st")],
}


@pytest.mark.parametrize(("dialect", "body"), [(anthropic.DIALECT, MESSAGES), (openai_chat.DIALECT, CHAT)])
def test_what_gemini_calls_comes_back_under_the_clients_name(dialect, body):
    to = Addressee("Gemini", "gemini-2.5-flash", 0)
    passage = TranslatedPassage(conversation(dialect, body), gemini.WIRE, to, streamed=True, counting=False)
    declared = [one["name"] for one in json.loads(passage.body)["tools"][0]["functionDeclarations"]]
    assert all(TAKEN["Gemini"].fullmatch(name) for name in declared)
    parts = [{"functionCall": {"name": name, "args": {}}} for name in declared]
    answer = {"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP"}], "responseId": "r"}
    told = [passage.whole(json.dumps(answer).encode(), UsageMeter())]
    follower = passage.follower(UsageMeter())
    told.append(follower.take(b"data: " + json.dumps(answer).encode() + b"\r\n\r\n")[1] + follower.end(b"")[1])
    for text in told:
        assert [text.count(b'"%b"' % name.encode()) for name in (LONG, "1st", *declared)] == [1, 1, 0, 0]


def test_counting_knows_the_disguise_too():
    to = Addressee("OpenAI", "gpt-5-mini", 0)
    passage = TranslatedPassage(
        conversation(anthropic.DIALECT, MESSAGES), openai_responses.WIRE, to, streamed=False, counting=True
    )
    assert LONG not in passage.body.decode()
