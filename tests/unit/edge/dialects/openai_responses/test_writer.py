"""Streamed answers: exact events in exact order, as the SDK reads them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import errors
from penstock_edge.canonical import (
    BlockStart,
    BlockStop,
    CitationDelta,
    InputDelta,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from penstock_edge.dialects.openai_responses import DIALECT
from penstock_edge.errors import Problem
from penstock_edge.usage_report import UsageReport
from tests.unit.edge.dialects.openai_responses.conversations import BIRTH, DIGITS, FUNCTION, conversation, encoded
from tests.unit.edge.dialects.openai_responses.sdk import events, response

TOOLS = [FUNCTION, {"type": "custom", "name": "patch"}, {"type": "local_shell"}]
START = MessageStart("m", "upstream", UsageReport(input_tokens=10, output_tokens=1))
OVERLOADED = Problem(529, errors.OVERLOADED, "the provider is overloaded; please retry later", retry_after=3)


def use(name):
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}


def block(index, start, *deltas):
    return [BlockStart(index, start), *deltas, BlockStop(index)]


def text(index, *words):
    return block(index, {"type": "text", "text": ""}, *(TextDelta(index, word) for word in words))


def thinking(index, words, signature):
    start = {"type": "thinking", "thinking": "", "signature": ""}
    return block(index, start, ThinkingDelta(index, words), SignatureDelta(index, signature))


def ending(reason="end_turn", tokens=9):
    return [MessageDelta(reason, None, UsageReport(output_tokens=tokens)), MessageStop()]


def written(*parts, **fields):
    writer = conversation(tools=TOOLS, **fields).writer()
    return b"".join(writer.write(event) for event in parts)


def kinds(found):
    return [event["type"].removeprefix("response.") for event in found]


def test_text():
    found = events(written(START, *text(0, "Hel", "", "lo"), *ending()))
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    place = {"item_id": f"msg_{DIGITS}00", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": "Hello"}
    message = {
        "id": f"msg_{DIGITS}00",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    assert found[0]["response"]["status"] == "in_progress"
    assert found[0]["response"]["usage"] is None
    assert found[2]["item"] == message | {"status": "in_progress", "content": []}
    assert found[4] == {
        "type": "response.output_text.delta",
        "sequence_number": 4,
        **place,
        "delta": "Hel",
        "logprobs": [],
    }
    assert found[6]["text"] == "Hello"
    assert found[7]["part"] == part
    assert found[8]["item"] == message
    whole = response(found[9]["response"])
    assert whole.output_text == "Hello"
    assert whole.id == f"resp_{DIGITS}"
    assert (whole.usage.input_tokens, whole.usage.output_tokens, whole.usage.total_tokens) == (10, 9, 19)


def test_the_bytes_of_a_delta():
    writer = conversation().writer()
    writer.write(START)
    writer.write(BlockStart(0, {"type": "text", "text": ""}))
    assert (
        writer.write(TextDelta(0, 'é "\n\u2028'))
        == (
            "event: response.output_text.delta\n"
            f'data: {{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_{DIGITS}00","output_index":0,'
            '"content_index":0,"delta":"é \\"\\n\u2028","logprobs":[]}\n\n'
        ).encode()
    )


def test_texts_in_a_row_are_parts_of_one_message():
    found = events(written(START, *text(0, "a"), *text(1, "b"), *block(2, use("look")), *text(3, "c"), *ending()))
    output = found[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]
    assert [part["text"] for part in output[0]["content"]] == ["a", "b"]
    assert [event["content_index"] for event in found if event["type"] == "response.output_text.done"] == [0, 1, 0]
    done = [event["item"]["id"] for event in found if event["type"] == "response.output_item.done"]
    assert done == [item["id"] for item in output]


def test_thinking():
    found = events(written(START, *thinking(0, "hm", "SIG"), *text(1, "a"), *ending()))
    assert kinds(found)[2:8] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert found[2]["item"] == {"id": f"rs_{DIGITS}00", "type": "reasoning", "summary": []}
    assert found[7]["item"] == {
        "id": f"rs_{DIGITS}00",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "SIG",
    }


def test_thinking_that_is_not_shown():
    found = events(written(START, *thinking(0, "", "SIG"), *ending()))
    assert kinds(found)[2:4] == ["output_item.added", "output_item.done"]
    assert (found[3]["item"]["summary"], found[3]["item"]["encrypted_content"]) == ([], "SIG")


def test_a_function_call():
    deltas = [InputDelta(0, ""), InputDelta(0, '{"a"'), InputDelta(0, ":1}")]
    found = events(written(START, *block(0, use("look"), *deltas), *ending("tool_use")))
    assert kinds(found)[2:7] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert (found[2]["item"]["arguments"], found[2]["item"]["status"]) == ("", "in_progress")
    assert found[5]["arguments"] == '{"a":1}'
    assert found[6]["item"] == found[-1]["response"]["output"][0]
    assert found[-1]["type"] == "response.completed"


def test_a_function_call_without_input():
    found = events(written(START, *block(0, use("look"), InputDelta(0, "")), *ending("tool_use")))
    assert [event["delta"] for event in found if "delta" in event] == ["{}"]
    assert found[-1]["response"]["output"][0]["arguments"] == "{}"


def test_calls_have_ids_of_their_own():
    earlier = [
        {"type": "function_call", "name": "look", "call_id": "toolu_1", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "toolu_1", "output": "ok"},
    ]
    calls = [*block(0, use("look")), *block(1, use("patch"))]
    found = events(written(START, *calls, *ending("tool_use"), input=earlier))
    for kind in ("added", "done"):
        items = [event["item"] for event in found if event["type"] == f"response.output_item.{kind}"]
        assert [item["call_id"] for item in items] == ["toolu_1_2", "toolu_1_3"]


def test_a_custom_tools_call():
    deltas = [InputDelta(0, piece) for piece in ('{"input', '":"a\\', "nb", '"}')]
    found = events(written(START, *block(0, use("patch"), *deltas), *ending("tool_use")))
    assert kinds(found)[2:-1] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    assert [event["delta"] for event in found if "delta" in event] == ["a", "\nb"]
    assert found[-3]["input"] == "a\nb"
    assert (found[2]["item"]["input"], found[-2]["item"]["input"]) == ("", "a\nb")


def test_a_custom_tools_call_with_half_a_surrogate_pair():
    deltas = [InputDelta(0, piece) for piece in ('{"input":"a', r"b\ud83d", r"c\ude00", '"}')]
    found = events(written(START, *block(0, use("patch"), *deltas), *ending("tool_use")))
    assert "".join(event["delta"] for event in found if "delta" in event) == "ab\ufffdc\ufffd"
    assert found[-3]["input"] == found[-2]["item"]["input"] == "ab\ufffdc\ufffd"


def test_a_custom_tools_call_that_is_not_as_asked():
    found = events(written(START, *block(0, use("patch"), InputDelta(0, '{"diff":"a"}')), *ending("tool_use")))
    assert [event["delta"] for event in found if "delta" in event] == ["a"]
    assert found[-2]["item"]["input"] == "a"


def test_a_call_whose_item_holds_its_input_comes_whole():
    deltas = [InputDelta(0, '{"command":'), InputDelta(0, '["ls"]}')]
    found = events(written(START, *block(0, use("local_shell"), *deltas), *ending("tool_use")))
    assert kinds(found)[2:4] == ["output_item.added", "output_item.done"]
    assert found[2]["item"]["action"]["command"] == found[3]["item"]["action"]["command"] == ["ls"]
    assert found[2]["item"]["id"] == f"lsh_{DIGITS}00"
    found = events(written(START, *block(0, use("local_shell"), InputDelta(0, r'{"command":["\ud83d"]}')), *ending()))
    assert found[3]["item"]["action"]["command"] == ["\ufffd"]


@pytest.mark.parametrize(
    ("reason", "kind", "details"),
    [
        ("max_tokens", "response.incomplete", {"reason": "max_output_tokens"}),
        ("refusal", "response.incomplete", {"reason": "content_filter"}),
        ("stop_sequence", "response.completed", None),
    ],
)
def test_how_it_ends(reason, kind, details):
    last = events(written(START, *text(0, "a"), *ending(reason)))[-1]
    assert (last["type"], last["response"]["incomplete_details"]) == (kind, details)
    assert last["response"]["output"][0]["status"] == kind.removeprefix("response.")


def test_a_refusal_of_everything():
    found = events(written(START, *ending("refusal")))
    assert kinds(found)[2:] == [
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert found[-1]["response"]["output"][0]["content"][0]["type"] == "refusal"


def test_what_says_nothing_here():
    own = {"type": "web_search_tool_result", "tool_use_id": "x", "content": []}
    found = events(
        written(START, Ping(), *block(0, own, TextDelta(0, "x")), CitationDelta(0, {}), *text(1, "a"), *ending())
    )
    assert [item["type"] for item in found[-1]["response"]["output"]] == ["message"]
    assert written(Ping()) == b": keep-alive\n\n"


def test_figures_replace_each_other():
    late = MessageDelta(None, None, UsageReport(input_tokens=20, cache_read_input_tokens=5, output_tokens=3))
    usage = events(written(START, *text(0, "a"), late, *ending(tokens=4)))[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (25, 4, 29)


@pytest.mark.parametrize("sent", [0, 1, 2, 3, 4, 5, 6])
def test_a_failure_never_looks_like_an_end(sent):
    writer = conversation().writer()
    data = b"".join(writer.write(event) for event in [START, *text(0, "a"), *thinking(1, "b", "")][:sent])
    found = events(data + writer.fail(OVERLOADED))
    assert kinds(found)[-2:] == ["error", "failed"]
    assert found[-2] == {
        "type": "error",
        "sequence_number": len(found) - 2,
        "code": "overloaded",
        "message": OVERLOADED.message,
        "param": None,
    }
    last = found[-1]["response"]
    assert (last["status"], last["error"]) == ("failed", {"code": "server_error", "message": OVERLOADED.message})


@pytest.mark.parametrize(
    ("problem", "codes"),
    [
        (Problem(429, errors.RATE_LIMIT, "slowly"), ("rate_limit_exceeded", "rate_limit_exceeded")),
        (Problem(502, errors.API, "broken"), ("server_error", "server_error")),
        (Problem(400, errors.INVALID_REQUEST, "input: too long"), ("invalid_request_error", "invalid_prompt")),
    ],
)
def test_codes_of_failures(problem, codes):
    error, failed = events(conversation().writer().fail(problem))
    assert (error["code"], failed["response"]["error"]["code"]) == codes


def test_a_failure_before_anything():
    head = DIALECT.head(encoded(tools=[FUNCTION]))
    found = events(DIALECT.error_event(OVERLOADED, BIRTH.request_id, head))
    assert kinds(found) == ["error", "failed"]
    assert found[1]["response"]["id"] == f"resp_{DIGITS}"
    assert found[1]["response"]["created_at"] == int(DIGITS[:12], 16) // 1000
    assert found[1]["response"]["tools"] == [FUNCTION]


BLOCKS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(lambda words: {"type": "text", "text": words}),
    st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["", "SIG"])).map(
        lambda both: {"type": "thinking", "thinking": both[0], "signature": both[1]}
    ),
    st.sampled_from([use("look"), use("patch") | {"input": {"input": 'a"\n'}}, use("local_shell"), use("unknown")]),
)


def streamed(content):
    for index, item in enumerate(content):
        match item["type"]:
            case "text":
                yield from text(index, item["text"][:1], item["text"][1:])
            case "thinking":
                yield from thinking(index, item["thinking"], item["signature"])
            case _:
                start = item | {"input": {}}
                given = json.dumps(item["input"], separators=(",", ":"))
                yield from block(index, start, InputDelta(index, given[:9]), InputDelta(index, given[9:]))


@given(st.lists(BLOCKS, max_size=5), st.sampled_from(["end_turn", "tool_use", "refusal"]))
def test_a_stream_ends_as_the_unary_answer(content, reason):
    asked = conversation(tools=TOOLS)
    writer = asked.writer()
    data = b"".join(writer.write(event) for event in [START, *streamed(content), *ending(reason)])
    message = Message("m", "upstream", content, reason, usage=UsageReport(input_tokens=10, output_tokens=9))
    unary, last = json.loads(asked.answer(message)), events(data)[-1]["response"]
    if unary["status"] == "incomplete" and content[-1]["type"] != "text":
        # What is done in a stream cannot be called incomplete afterwards.
        for item in (unary["output"][-1], last["output"][-1]):
            item.pop("status", None)
    assert last == unary
