"""Why an answer was withheld reaches clients of every dialect, in the provider's own words where it has any."""

from __future__ import annotations

import json

import pytest
from anthropic.types import Message as AnthropicMessage
from anthropic.types import RawMessageDeltaEvent
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from penstock_edge.canonical import (
    BlockStart,
    BlockStop,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    TextDelta,
)
from penstock_edge.dialects import gemini, openai_chat, openai_responses
from penstock_edge.dialects.anthropic import DIALECT as ANTHROPIC
from penstock_edge.dialects.dialect import Birth
from penstock_edge.providers import anthropic as claude
from penstock_edge.providers import gemini as google
from penstock_edge.sse import EventSplitter, data_of

BIRTH = Birth("req_" + "0" * 32, 1_700_000_000)
ASKED = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
WHY = "This could harm a cat."
SAID = [{"type": "text", "text": "I"}]
EVENTS = [BlockStart(0, {"type": "text", "text": ""}), TextDelta(0, "I"), BlockStop(0)]


def talk(dialect, body):
    raw = json.dumps(body).encode()
    return dialect.read(dialect.head(raw), raw, BIRTH)


def chat():
    return talk(openai_chat.DIALECT, ASKED)


def responses():
    return talk(openai_responses.DIALECT, {"model": "m", "input": "Hi"})


def messages():
    return talk(ANTHROPIC, ASKED)


def googles():
    body = json.dumps({"contents": [{"parts": [{"text": "Hi"}]}]}).encode()
    return gemini.DIALECT.read(gemini.DIALECT.head(body, "m", streamed=True, counting=False, sse=True), body, BIRTH)


def answered(conversation, *content, why=WHY):
    return json.loads(conversation.answer(Message("id", "m", [*content], "refusal", explanation=why)))


def streamed(conversation, *events):
    writer = conversation.writer()
    told = [MessageStart("id", "m"), *events, MessageDelta("refusal", explanation=WHY), MessageDelta(), MessageStop()]
    found = (data_of(raw) for raw in EventSplitter().feed(b"".join(writer.write(event) for event in told)))
    return [json.loads(one) for one in found if one and one != b"[DONE]"]


@pytest.mark.parametrize(("said", "events"), [([], []), (SAID, EVENTS)])
def test_a_chat_is_told_why(said, events):
    answer = ChatCompletion.model_validate(answered(chat(), *said))
    assert (answer.choices[0].message.refusal, answer.choices[0].finish_reason) == (WHY, "content_filter")
    last = ChatCompletionChunk.model_validate(streamed(chat(), *events)[-1])
    assert (last.choices[0].delta.refusal, last.choices[0].finish_reason) == (WHY, "content_filter")


@pytest.mark.parametrize(("said", "events", "status"), [([], [], "completed"), (SAID, EVENTS, "incomplete")])
def test_a_responses_client_is_told_why_behind_what_was_said(said, events, status):
    answer = answered(responses(), *said)
    *_, last = streamed(responses(), *events)
    assert last["type"] == f"response.{status}"
    for one in (answer, last["response"]):
        response = Response.model_validate(one)
        assert response.status == status
        (message,) = response.output
        assert (message.status, message.content[-1].refusal) == (status, WHY)
        assert response.output_text == "".join(block["text"] for block in said)


def test_a_responses_client_is_told_why_behind_a_call():
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    wanted = [{"type": "refusal", "refusal": WHY}]
    assert answered(responses(), call)["output"][1]["content"] == wanted
    last = streamed(responses(), BlockStart(0, call), BlockStop(0))[-1]
    assert last["response"]["output"][1]["content"] == wanted


def test_a_messages_client_is_told_why():
    told = {"type": "refusal", "category": None, "explanation": WHY}
    answer = AnthropicMessage.model_validate(answered(messages(), *SAID))
    assert answer.stop_details.model_dump() == told
    events = [event for event in streamed(messages()) if event["type"] == "message_delta"]
    deltas = [RawMessageDeltaEvent.model_validate(event).delta.stop_details for event in events]
    assert [details and details.model_dump() for details in deltas] == [told, None]
    assert "stop_details" not in answered(messages(), why="")


@pytest.mark.parametrize(("said", "events"), [([], []), (SAID, EVENTS)])
def test_googles_clients_are_told_why(said, events):
    for one in (answered(googles(), *said), streamed(googles(), *events)[-1]):
        (candidate,) = GenerateContentResponse.model_validate(one).candidates
        assert (candidate.finish_message, candidate.finish_reason) == (WHY, "SAFETY")
    assert "finishMessage" not in answered(googles(), why="")["candidates"][0]


# What providers say


def told(parser, *events):
    heard = [event for raw in events for event in parser.feed(raw)]
    return "".join(event.explanation for event in heard if isinstance(event, MessageDelta))


@pytest.mark.parametrize(
    ("details", "why"),
    [
        ({"type": "refusal", "category": "bio", "explanation": WHY}, WHY),
        (
            {"type": "refusal", "category": "cyber", "explanation": None},
            "The model refused to answer this request (cyber).",
        ),
        ({"type": "refusal", "category": None, "explanation": None}, ""),
        (None, ""),
        ("odd", ""),
        ({"explanation": 1}, ""),
    ],
)
def test_what_claude_says_of_a_refusal(details, why):
    ending = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    body = {"type": "message", "id": "m", "content": [], **ending}
    assert claude.WIRE.parse(json.dumps(body).encode()).explanation == why
    events = [{"type": "message_start", "message": {"id": "m"}}, {"type": "message_delta", "delta": ending}]
    assert told(claude.WIRE.parser(), *(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)) == why


def candidate(finish, **more):
    return {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": finish, **more}]}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (candidate("STOP"), ""),
        (candidate("MAX_TOKENS", finishMessage="At the limit."), ""),
        (candidate("RECITATION"), "The provider ended the answer (RECITATION)."),
        (
            candidate("MALFORMED_FUNCTION_CALL", finishMessage="Malformed function call: f("),
            "The provider ended the answer (MALFORMED_FUNCTION_CALL): Malformed function call: f(",
        ),
        (
            {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
            "The provider ended the answer (PROHIBITED_CONTENT).",
        ),
        (
            {"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "Not here."}},
            "The provider ended the answer (OTHER): Not here.",
        ),
    ],
)
def test_what_google_says_of_an_answer_that_ended_badly(body, why):
    raw = json.dumps(body).encode()
    assert google.WIRE.parse(raw).explanation == why
    parser = google.WIRE.parser()
    parser.feed(b"data: " + raw + b"\r\n\r\n")
    assert [event.explanation for event in parser.end() if isinstance(event, MessageDelta)] == [why]
