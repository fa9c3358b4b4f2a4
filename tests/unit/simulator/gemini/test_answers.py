"""Good answers, as a reader of raw bytes meets them: whole, as events, and as one list."""

import base64
import json

from .conftest import (
    EVENTS,
    EVERY,
    LIST,
    MODEL,
    QUIET,
    STREAMS,
    THIRD,
    TOOL,
    UNARY,
    asked,
    elements,
    parts_of,
    path,
    said,
    spoken,
)


async def test_unary(sim, post):
    wire = await post(asked("tokens=10"))
    assert (wire.status, "application/json; charset=UTF-8" in wire.head) == (200, True)
    answer = json.loads(wire.body)
    (record,) = sim.records
    assert set(answer) == {"candidates", "usageMetadata", "modelVersion", "responseId"}
    assert (answer["modelVersion"], answer["responseId"]) == (MODEL, record.upstream_request_id)
    (candidate,) = answer["candidates"]
    assert set(candidate) == {"content", "finishReason", "index"}
    assert (candidate["finishReason"], candidate["index"], candidate["content"]["role"]) == ("STOP", 0, "model")
    assert [list(part) for part in candidate["content"]["parts"]] == [["text"]]
    assert answer["usageMetadata"] == {
        "promptTokenCount": 6,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 32,
        "totalTokenCount": 48,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 6}],
    }
    assert (record.format, record.operation, record.streamed, record.state) == ("gemini", "messages", False, "complete")
    assert (record.usage.input_tokens, record.usage.output_tokens, record.relayed_tokens) == (6, 42, 42)
    assert (record.input_tokens, record.stop_reason, record.model) == (6, "STOP", MODEL)


async def test_events_end_with_crlf_and_have_no_names(post):
    wire = await post(asked("tokens=30"), to=path(EVENTS))
    assert "content-type: text/event-stream\r\n" in wire.head
    assert wire.ended_well
    assert wire.body.startswith(b'data: {"candidates"')
    assert wire.body.endswith(b"}\r\n\r\n")
    assert wire.body.count(b"\r\n") == wire.body.count(b"\n") == 2 * wire.body.count(b"data: ")
    assert b"event:" not in wire.body
    assert b"[DONE]" not in wire.body


async def test_a_list_is_one_json_document(post):
    wire = await post(asked("tokens=30"), to=path(LIST))
    assert "content-type: application/json" in wire.head
    assert wire.ended_well
    assert (wire.body[:2], wire.body[-2:]) == (b"[{", b"}]")
    assert wire.body.count(b"},\r\n{") == len(json.loads(wire.body)) - 1 == 5


@STREAMS
async def test_every_piece_tells_the_usage_so_far(sim, post, method):
    found = elements(await post(asked("tokens=12 chunks=3", **QUIET), to=path(method)))
    assert [one["usageMetadata"].get("candidatesTokenCount") for one in found] == [4, 8, 12, 12]
    assert {one["usageMetadata"]["promptTokenCount"] for one in found} == {
        found[0]["usageMetadata"]["promptTokenCount"]
    }
    totals = [one["usageMetadata"]["totalTokenCount"] - one["usageMetadata"]["promptTokenCount"] for one in found]
    assert totals == [4, 8, 12, 12]
    assert ["finishReason" in one["candidates"][0] for one in found] == [False, False, False, True]
    assert {(one["modelVersion"], one["responseId"]) for one in found} == {
        (MODEL, next(iter(sim.records)).upstream_request_id)
    }
    (record,) = sim.records
    assert (record.streamed, record.usage.output_tokens, record.relayed_tokens) == (True, 12, 12)


@STREAMS
async def test_a_stream_says_what_a_unary_answer_says(http, method):
    document = asked("tokens=40", generationConfig={"thinkingConfig": {"includeThoughts": True}})
    whole = (await http.post(path(), json=document)).json()
    found = elements((await http.post(path(method), json=document)).text)
    assert spoken(found) == spoken([whole])
    thought = [part["text"] for one in found for part in parts_of(one) if part.get("thought")]
    assert "".join(thought) == parts_of(whole)[0]["text"]
    assert found[-1]["usageMetadata"] == whole["usageMetadata"]
    assert found[0]["usageMetadata"]["thoughtsTokenCount"] < found[-1]["usageMetadata"]["thoughtsTokenCount"] == 32


async def test_hidden_thoughts_are_told_from_the_start(http):
    found = elements((await http.post(path(EVENTS), json=said())).text)
    assert {one["usageMetadata"]["thoughtsTokenCount"] for one in found} == {32}


@EVERY
async def test_calls_come_whole(http, method):
    document = asked("tool=* tools=2", tools=[TOOL])
    found = elements((await http.post(path(method, THIRD), json=document)).text) if method != UNARY else [
        (await http.post(path(method, THIRD), json=document)).json()
    ]  # fmt: skip
    calls = [part for one in found for part in parts_of(one) if "functionCall" in part]
    assert [part["functionCall"]["name"] for part in calls] == ["weather", "weather"]
    assert [set(part) for part in calls] == [{"functionCall", "thoughtSignature"}, {"functionCall"}]
    assert all(set(part["functionCall"]) == {"id", "name", "args"} for part in calls)
    assert found[-1]["candidates"][0]["finishReason"] == "STOP"


async def test_a_conversation_with_calls_goes_on(http):
    first = (await http.post(path(model=THIRD), json=asked("tool=*", tools=[TOOL]))).json()["candidates"][0]["content"]
    call = first["parts"][0]["functionCall"]
    result = {"functionResponse": {"name": call["name"], "id": call["id"], "response": {"ok": 1}}}
    document = asked("say=done", tools=[TOOL])
    document["contents"] += [first, {"role": "user", "parts": [result]}]
    answer = (await http.post(path(model=THIRD), json=document)).json()
    assert spoken([answer]) == "done"
    assert answer["candidates"][0]["content"]["parts"][-1]["thoughtSignature"]
    del first["parts"][0]["thoughtSignature"]
    refused = await http.post(path(model=THIRD), json=document)
    assert "missing a thought_signature" in refused.json()["error"]["message"]


@EVERY
async def test_an_image_comes_whole(sim, http, method):
    document = asked("say=there image_bytes=5000")
    answer = await http.post(path(method, "gemini-2.5-flash-image"), json=document)
    found = [answer.json()] if method == UNARY else elements(answer.text)
    (image,) = [part["inlineData"] for one in found for part in parts_of(one) if "inlineData" in part]
    assert (image["mimeType"], len(base64.b64decode(image["data"]))) == ("image/png", 5000)
    assert spoken(found) == "there"
    assert found[-1]["usageMetadata"]["candidatesTokenCount"] == 2 + 1290
    (record,) = sim.records
    assert record.usage.output_tokens == 2 + 1290


@STREAMS
async def test_the_signature_of_a_text_comes_last_and_alone(http, method):
    found = elements((await http.post(path(method, THIRD), json=asked("tokens=20"))).text)
    signed = [one for one in found if any("thoughtSignature" in part for part in parts_of(one))]
    assert signed == [found[-1]]
    assert parts_of(found[-1])[0]["text"] == ""


@EVERY
async def test_a_blocked_prompt(sim, http, method):
    answer = await http.post(path(method), json=asked("stop=blocked:safety"))
    (found,) = [answer.json()] if method == UNARY else elements(answer.text)
    assert found["promptFeedback"] == {"blockReason": "SAFETY"}
    assert "candidates" not in found
    assert found["usageMetadata"]["totalTokenCount"] == found["usageMetadata"]["promptTokenCount"]
    (record,) = sim.records
    assert (record.stop_reason, record.complete, record.usage.output_tokens) == ("SAFETY", True, 0)


async def test_what_ends_badly_has_no_content_in_its_end(http):
    candidate = (await http.post(path(), json=asked("stop=SAFETY"))).json()["candidates"][0]
    assert (candidate["content"], candidate["finishReason"]) == ({}, "SAFETY")
    assert candidate["safetyRatings"][0]["blocked"]
    found = elements((await http.post(path(EVENTS), json=asked("stop=RECITATION say=copied"))).text)
    assert spoken(found) == "copied"
    assert (found[-1]["candidates"][0]["content"], found[-1]["candidates"][0]["finishReason"]) == ({}, "RECITATION")


async def test_thinking_may_leave_no_room_for_words(http):
    document = said(generationConfig={"maxOutputTokens": 8})
    answer = (await http.post(path(), json=document)).json()
    assert answer["candidates"] == [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}]
    assert "candidatesTokenCount" not in answer["usageMetadata"]


async def test_pings_updates_and_closing_usage(sim, http):
    document = asked("pings=2 usage_updates=1 chunks=3 usage=output", **QUIET)
    found = elements((await http.post(path(EVENTS), json=document)).text)
    assert ["candidates" in one for one in found] == [False, False, True, False, True, True, True]
    assert ["promptTokenCount" in one["usageMetadata"] for one in found] == [True] * 6 + [False]
    (record,) = sim.records
    assert record.usage.input_tokens == found[0]["usageMetadata"]["promptTokenCount"]
    assert record.usage.output_tokens == found[-1]["usageMetadata"]["candidatesTokenCount"] == record.relayed_tokens


@EVERY
async def test_no_usage_at_all(sim, http, method):
    answer = await http.post(path(method), json=asked("usage=none"))
    assert "usageMetadata" not in answer.text
    assert [(record.reported, record.complete) for record in sim.records] == [(False, True)]


async def test_what_is_unsafe_in_html_is_escaped(http):
    answer = await http.post(path(), json=asked("say=\"<a href='x=1'> & so\""))
    assert not set("<>&='") & set(answer.text)
    assert spoken([answer.json()]) == "<a href='x=1'> & so"


@EVERY
async def test_unicode_in_split_writes(post, method):
    wire = await post(asked("text=unicode tokens=60 split", **QUIET), to=path(method))
    found = [json.loads(wire.body)] if method == UNARY else elements(wire)
    assert len(spoken(found)) == 240
    assert "\u2028" in spoken(found)


async def test_prompts_are_remembered_unasked(sim, http):
    prompt = "x" * 400
    usages = [(await http.post(path(), json=said(prompt))).json()["usageMetadata"] for _ in range(2)]
    assert ["cachedContentTokenCount" in usage for usage in usages] == [False, True]
    assert [usage["promptTokenCount"] for usage in usages] == [100, 100]
    longer = said(prompt)
    longer["contents"] += [{"role": "model", "parts": [{"text": "ok"}]}, {"parts": [{"text": "y" * 40}]}]
    usage = (await http.post(path(), json=longer)).json()["usageMetadata"]
    assert (usage["cachedContentTokenCount"], usage["promptTokenCount"]) == (100, 111)
    assert [(r.usage.input_tokens, r.usage.cache_read_input_tokens) for r in sim.records] == [
        (100, 0),
        (0, 100),
        (11, 100),
    ]
    others = [path(model="gemini-2.0-flash")] * 2 + [path(model="gemini-2.5-pro")]
    answers = [(await http.post(to, json=said(prompt))).json()["usageMetadata"] for to in others]
    assert not any("cachedContentTokenCount" in usage for usage in answers)
