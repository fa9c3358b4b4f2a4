"""Images that a model makes reach clients of every dialect, and come back with the conversation."""

from __future__ import annotations

import base64
import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from penstock_edge import images, signatures
from penstock_edge.canonical import (
    BlockStart,
    BlockStop,
    Extras,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Request,
    SignatureDelta,
)
from penstock_edge.dialects import gemini, openai_chat, openai_responses
from penstock_edge.dialects.anthropic import DIALECT as ANTHROPIC
from penstock_edge.dialects.dialect import Birth
from penstock_edge.errors import ProblemError
from penstock_edge.providers import anthropic as claude
from penstock_edge.providers import gemini as google
from penstock_edge.providers import openai_chat as chat_provider
from penstock_edge.providers import openai_responses as responses_provider
from penstock_edge.providers.wire import Addressee, Signal
from penstock_edge.sse import EventSplitter, data_of
from penstock_edge.usage import UsageMeter
from tests.unit.edge.dialects.openai_responses import sdk

BIRTH = Birth("req_" + "0" * 32, 1_700_000_000)
DATA = base64.b64encode(b"\x89PNG of a cat").decode()
URL = f"data:image/png;base64,{DATA}"
IMAGE = images.image_block("image/png", DATA)
LINK = images.image_block("", "https://images.example/cat.png")
SIGNED = signatures.tag("sig", "Gemini")
SILENT = {"type": "thinking", "thinking": "", "signature": SIGNED}
HELLO = {"type": "text", "text": "Here it is."}
ASKED = {"messages": [{"role": "user", "content": "a cat"}]}
GOOGLES_ASKED = {"contents": [{"parts": [{"text": "a cat"}]}]}

ENTRIES = [
    ({"type": "image_url", "image_url": {"url": URL}}, IMAGE),
    ({"type": "image_url", "image_url": URL}, IMAGE),
    ({"image_url": {"url": f"DATA:IMAGE/PNG;name=x;base64,{DATA}"}}, IMAGE),
    ({"image_url": {"url": "https://images.example/cat.png"}}, LINK),
    ({"image_url": {"url": "data:image/png,raw"}}, None),
    ({"image_url": {"url": "data:image/png;base64,"}}, None),
    ({"image_url": {"url": f"data:audio/wav;base64,{DATA}"}}, None),
    ({"image_url": {"url": "file:///etc/passwd"}}, None),
    ({"image_url": {"url": 1}}, None),
    ({"image_url": None}, None),
    ({}, None),
    ("text", None),
    (None, None),
]


@pytest.mark.parametrize(("entry", "block"), ENTRIES)
def test_an_entry_is_read_as_others_write_it(entry, block):
    assert images.from_entry(entry) == block


@pytest.mark.parametrize("block", [IMAGE, LINK])
def test_an_entry_comes_back_as_it_went_out(block):
    entry = images.entry(images.url_of(block), 3)
    assert images.from_entry(entry) == block
    assert entry["index"] == 3


# Conversations of each dialect, with a model that makes images


def chat(**fields):
    body = json.dumps({"model": "m", **ASKED, **fields}).encode()
    return openai_chat.DIALECT.read(openai_chat.DIALECT.head(body), body, BIRTH)


def responses(**fields):
    body = json.dumps({"model": "m", "input": "a cat", **fields}).encode()
    return openai_responses.DIALECT.read(openai_responses.DIALECT.head(body), body, BIRTH)


def messages(**fields):
    body = json.dumps({"model": "m", "max_tokens": 9, **ASKED, **fields}).encode()
    return ANTHROPIC.read(ANTHROPIC.head(body), body, BIRTH)


def googles(**fields):
    body = json.dumps(GOOGLES_ASKED | fields).encode()
    return gemini.DIALECT.read(gemini.DIALECT.head(body, "m", streamed=False, counting=False, sse=True), body, BIRTH)


def answered(conversation, *blocks):
    return json.loads(conversation.answer(Message("id", "m", [dict(block) for block in blocks], "end_turn")))


def streamed(conversation, *blocks):
    writer = conversation.writer()
    said = [writer.write(MessageStart("id", "m"))]
    for index, block in enumerate(blocks):
        said.append(writer.write(BlockStart(index, block | {"signature": ""} if block == SILENT else dict(block))))
        if block == SILENT:
            said.append(writer.write(SignatureDelta(index, SIGNED)))
        said.append(writer.write(BlockStop(index)))
    said += [writer.write(MessageDelta("end_turn")), writer.write(MessageStop())]
    return b"".join(said)


def data(stream):
    found = (data_of(raw) for raw in EventSplitter().feed(stream))
    return [json.loads(one) for one in found if one and one != b"[DONE]"]


@pytest.mark.parametrize("block", [IMAGE, LINK])
def test_a_chat_has_its_images_beside_its_text(block):
    said = answered(chat(), HELLO, block)
    ChatCompletion.model_validate(said)
    (message,) = [choice["message"] for choice in said["choices"]]
    assert message["content"] == "Here it is."
    assert [images.from_entry(entry) for entry in message["images"]] == [block]

    chunks = data(streamed(chat(stream=True), block, block))
    for one in chunks:
        ChatCompletionChunk.model_validate(one)
    made = [entry for one in chunks for choice in one["choices"] for entry in choice["delta"].get("images", ())]
    assert [(entry["index"], images.from_entry(entry)) for entry in made] == [(0, block), (1, block)]


def test_a_chat_without_images_says_nothing_of_them():
    assert "images" not in answered(chat(), HELLO)["choices"][0]["message"]


def test_an_images_signature_travels_with_it_in_a_chat():
    (entry,) = answered(chat(), SILENT, IMAGE)["choices"][0]["message"]["images"]
    back = chat(messages=[*ASKED["messages"], {"role": "assistant", "content": "", "images": [entry]}])
    assert back.request.body["messages"][1]["content"] == [SILENT, IMAGE]
    assert not back.request.ignored

    (made,) = [
        one for one in data(streamed(chat(stream=True), SILENT, IMAGE)) if one["choices"][0]["delta"].get("images")
    ]
    assert made["choices"][0]["delta"]["images"][0] == entry


@pytest.mark.parametrize(
    ("given", "told"),
    [("cat.png", "messages.1.images"), ([{"image_url": "cat"}], "messages.1.images.0")],
)
def test_what_is_no_image_of_a_chat_is_refused(given, told):
    with pytest.raises(ProblemError) as refusal:
        chat(messages=[*ASKED["messages"], {"role": "assistant", "content": "", "images": given}])
    assert refusal.value.problem.status == 400
    assert told in refusal.value.problem.message


@pytest.mark.parametrize(("block", "result", "form"), [(IMAGE, DATA, "png"), (LINK, LINK["source"]["url"], None)])
def test_responses_have_an_item_for_an_image(block, result, form):
    said = answered(responses(), HELLO, block)
    sdk.response(said)
    _, made = said["output"]
    assert (made["type"], made["status"], made["result"]) == ("image_generation_call", "completed", result)
    assert made["output_format"] == form

    events = sdk.events(streamed(responses(stream=True), HELLO, block))
    assert [event["type"] for event in events if event.get("output_index") == 1] == [
        "response.output_item.added",
        "response.image_generation_call.in_progress",
        "response.image_generation_call.generating",
        "response.image_generation_call.completed",
        "response.output_item.done",
    ]
    assert events[-1]["response"]["output"][1] == made | {"id": events[-1]["response"]["output"][1]["id"]}


@pytest.mark.parametrize("block", [IMAGE, LINK])
def test_an_item_comes_back_as_the_image_that_it_was(block):
    (made,) = answered(responses(), block)["output"]
    back = responses(input=[{"role": "user", "content": "a cat"}, made, {"role": "user", "content": "smaller"}])
    assert back.request.body["messages"][1] == {"role": "assistant", "content": [block]}
    named = responses(input=[{"role": "user", "content": "a cat"}, {"type": "image_generation_call", "id": "ig_1"}])
    assert named.request.ignored == ["input.1 (image_generation_call)"]


def test_messages_have_a_block_for_an_image():
    assert answered(messages(), HELLO, IMAGE)["content"] == [HELLO, IMAGE]
    starts = [one for one in data(streamed(messages(stream=True), IMAGE)) if one["type"] == "content_block_start"]
    assert [one["content_block"] for one in starts] == [IMAGE]
    # Its signature goes out with it, also to who did not ask for thinking.
    assert answered(messages(), SILENT, HELLO, SILENT, IMAGE)["content"] == [HELLO, SILENT, IMAGE]
    starts = [
        one for one in data(streamed(messages(stream=True), SILENT, IMAGE)) if one["type"] == "content_block_start"
    ]
    assert [one["content_block"]["type"] for one in starts] == ["thinking", "image"]
    back = messages(messages=[*ASKED["messages"], {"role": "assistant", "content": [IMAGE]}, *ASKED["messages"]])
    assert back.request.body["messages"][1] == {"role": "assistant", "content": [IMAGE]}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (IMAGE, {"inlineData": {"mimeType": "image/png", "data": DATA}}),
        (LINK, {"fileData": {"fileUri": LINK["source"]["url"]}}),
    ],
)
def test_googles_clients_have_a_part_for_an_image(block, part):
    assert answered(googles(), block)["candidates"][0]["content"]["parts"] == [part]
    (first, *_) = data(streamed(googles(), block))
    assert first["candidates"][0]["content"]["parts"] == [part]


def test_an_image_of_googles_model_comes_back():
    part = {"inlineData": {"mimeType": "image/png", "data": DATA}, "thoughtSignature": SIGNED}
    sound = {"inline_data": {"mime_type": "audio/wav", "data": DATA}}
    contents = [*GOOGLES_ASKED["contents"], {"role": "model", "parts": [{"text": "Here"}, part, sound]}]
    back = googles(contents=[*contents, *GOOGLES_ASKED["contents"]]).request
    assert back.body["messages"][1]["content"] == [{"type": "text", "text": "Here"}, SILENT, IMAGE]
    assert back.ignored == ["contents.1.parts.2.inline_data"]


# Asking for them


@pytest.mark.parametrize(
    ("conversation", "wanted"),
    [
        (chat, False),
        (lambda: chat(modalities=["text"]), False),
        (lambda: chat(modalities=["image", "text"]), True),
        (googles, False),
        (lambda: googles(generationConfig={"responseModalities": ["TEXT"]}), False),
        (lambda: googles(generationConfig={"responseModalities": ["TEXT", "IMAGE"]}), True),
    ],
)
def test_images_are_asked_for(conversation, wanted):
    request = conversation().request
    assert request.extras.images is wanted
    assert not request.ignored


@pytest.mark.parametrize("asked", [["text", "audio"], "image", [1], [["image"]]])
def test_other_modalities_are_refused(asked):
    with pytest.raises(ProblemError, match="modalities"):
        chat(modalities=asked)


def test_who_makes_images_is_asked_for_them():
    wanted = Request({"messages": [{"role": "user", "content": [HELLO]}]}, Extras(images=True))
    body = json.loads(google.WIRE.write(wanted, Addressee("Gemini", "g", 0), streamed=False).body)
    assert body["generationConfig"]["responseModalities"] == ["TEXT", "IMAGE"]
    body = json.loads(chat_provider.WIRE.write(wanted, Addressee("OpenAICompatible", "c", 0), streamed=False).body)
    assert body["modalities"] == ["image", "text"]


@pytest.mark.parametrize("provider", ["Anthropic", "OpenAI"])
def test_who_makes_none_is_not(provider):
    wanted = Request({"messages": [{"role": "user", "content": [HELLO]}]}, Extras(images=True))
    with pytest.raises(ProblemError, match="text only") as refusal:
        images.refuse_where_none_are_made(wanted, provider)
    assert refusal.value.problem.status == 400
    images.refuse_where_none_are_made(Request({}), provider)
    images.refuse_where_none_are_made(wanted, "Gemini")


# What accounts say


def test_googles_answer():
    part = {"inlineData": {"mimeType": "image/png", "data": DATA}, "thoughtSignature": "sig"}
    sound = {"inlineData": {"mimeType": "audio/wav", "data": DATA}}
    thought = {"inlineData": {"mimeType": "image/png", "data": DATA}, "thought": True}
    candidate = {"content": {"parts": [thought, {"text": "Here it is."}, part, sound]}, "finishReason": "STOP"}
    answer = {"candidates": [candidate], "responseId": "r"}
    assert google.WIRE.parse(json.dumps(answer).encode()).content == [HELLO, SILENT, IMAGE]

    parser = google.WIRE.parser()
    events = [*parser.feed(b"data: " + json.dumps(answer).encode() + b"\n\n"), *parser.end()]
    assert [event.block for event in events if isinstance(event, BlockStart)] == [
        {"type": "text", "text": ""},
        {"type": "thinking", "thinking": "", "signature": ""},
        IMAGE,
    ]
    places = [event.index for event in events if isinstance(event, BlockStart | BlockStop)]
    assert places == [0, 0, 1, 1, 2, 2]


def test_a_chat_servers_answer():
    entry = {"type": "image_url", "image_url": {"url": URL}}
    message = {"role": "assistant", "content": "Here it is.", "images": [entry, {"odd": 1}]}
    answer = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    assert chat_provider.WIRE.parse(json.dumps(answer).encode()).content == [HELLO, IMAGE]

    parser = chat_provider.WIRE.parser()
    events = []
    for delta, finish in (({"content": "Here"}, None), ({"content": "", "images": [entry]}, None), ({}, "stop")):
        chunk = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        events += parser.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    events += parser.end()
    assert [event.block for event in events if isinstance(event, BlockStart)] == [{"type": "text", "text": ""}, IMAGE]
    assert [event.index for event in events if isinstance(event, BlockStart | BlockStop)] == [0, 0, 1, 1]


def test_an_image_of_a_chat_that_passes_is_output():
    delta = {"role": "assistant", "content": "", "images": [{"image_url": {"url": URL}}]}
    chunk = b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"
    assert chat_provider.WIRE.sniffer(UsageMeter()).observe(chunk) is Signal.OUTPUT
    delta["images"] = []
    chunk = b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"
    assert chat_provider.WIRE.sniffer(UsageMeter()).observe(chunk) is Signal.PRELUDE


# A conversation goes on, with whoever

MADE = [
    {"role": "user", "content": [HELLO]},
    {"role": "assistant", "content": [HELLO, SILENT, IMAGE]},
    {"role": "user", "content": [IMAGE, HELLO]},
]


def written(wire, provider, model="m", turns=MADE):
    request = Request({"messages": json.loads(json.dumps(turns)), "max_tokens": 9})
    found = wire.write(request, Addressee(provider, model, 0), streamed=False)
    return json.loads(found.body), found.ignored


def test_with_google():
    body, ignored = written(google.WIRE, "Gemini")
    assert body["contents"][1]["parts"] == [
        {"text": "Here it is."},
        {"inlineData": {"mimeType": "image/png", "data": DATA}, "thoughtSignature": "sig"},
    ]
    assert not ignored


def test_google_gets_a_word_in_place_of_a_signature_that_is_lost():
    unsigned = [MADE[0], {"role": "assistant", "content": [IMAGE]}, MADE[2]]
    body, _ = written(google.WIRE, "Gemini", "gemini-3-pro-image", unsigned)
    assert body["contents"][1]["parts"][0]["thoughtSignature"] == signatures.UNSIGNED_CALL
    assert "thoughtSignature" not in body["contents"][2]["parts"][0]
    body, _ = written(google.WIRE, "Gemini", "gemini-2.5-flash-image", unsigned)
    assert "thoughtSignature" not in body["contents"][1]["parts"][0]


def test_with_a_server_that_speaks_as_openai_does():
    body, _ = written(chat_provider.WIRE, "OpenAICompatible")
    assert [images.from_entry(entry) for entry in body["messages"][1]["images"]] == [IMAGE]
    alone = [MADE[0], {"role": "assistant", "content": [IMAGE]}, MADE[2]]
    body, _ = written(chat_provider.WIRE, "OpenAICompatible", turns=alone)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("wire", "provider"),
    [(claude.WIRE, "Anthropic"), (chat_provider.WIRE, "OpenAI"), (responses_provider.WIRE, "OpenAI")],
)
def test_others_are_not_shown_what_they_would_refuse_and_it_is_said(wire, provider):
    body, ignored = written(wire, provider, "claude-haiku-4-5" if provider == "Anthropic" else "gpt-5-mini")
    assert "messages.1.content.2 (image)" in ignored
    assert json.dumps(body).count(DATA) == 1


@pytest.mark.parametrize("block", [{"type": "image"}, {"type": "image", "source": {}}, {"type": "image", "source": 1}])
@pytest.mark.parametrize(("wire", "provider"), [(google.WIRE, "Gemini"), (chat_provider.WIRE, "OpenAICompatible")])
def test_an_image_without_anything_in_it_is_refused(wire, provider, block):
    with pytest.raises(ProblemError, match=r"messages.1.content.0.source") as refusal:
        written(wire, provider, turns=[MADE[0], {"role": "assistant", "content": [block]}])
    assert refusal.value.problem.status == 400
