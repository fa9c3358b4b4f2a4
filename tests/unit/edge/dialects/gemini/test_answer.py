"""Answers as Gemini clients read them, whole and in streams, judged by Google's own SDK."""

from __future__ import annotations

import json

import httpx
import pytest
from google.genai import errors as sdk_errors
from google.genai import types
from google.genai._api_client import HttpResponse

from penstock_edge import canonical as c
from penstock_edge import signatures
from penstock_edge.canonical import Message
from penstock_edge.dialects.gemini import DIALECT
from penstock_edge.errors import Problem
from penstock_edge.usage_report import OutputDetails, UsageReport

SIGNED = signatures.tag("c2ln", "Anthropic")
OTHER = signatures.tag("b3RoZXI=", "Anthropic")
USAGE = UsageReport(
    input_tokens=10,
    output_tokens=9,
    cache_creation_input_tokens=5,
    cache_read_input_tokens=3,
    output_tokens_details=OutputDetails(4),
)
FIGURES = {
    "promptTokenCount": 18,
    "candidatesTokenCount": 5,
    "cachedContentTokenCount": 3,
    "thoughtsTokenCount": 4,
    "totalTokenCount": 27,
}
TAIL = {"modelVersion": "claude-x", "responseId": "0af" * 10 + "12"}
PROBLEM = Problem(529, "overloaded_error", "the provider is overloaded", retry_after=2.5)


def text(words):
    return {"type": "text", "text": words}


def thinking(words, signature=""):
    return {"type": "thinking", "thinking": words, "signature": signature}


def use(name="f", given=None):
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": given if given is not None else {"x": 1}}


def call(**more):
    return {"functionCall": {"id": "toolu_1", "name": "f", "args": {"x": 1}}, **more}


@pytest.fixture
def talk(gemini):
    def talk(*, thoughts=False, sse=True, **more):
        if thoughts:
            more["generationConfig"] = {"thinkingConfig": {"includeThoughts": True}}
        return gemini.conversation(gemini.asked(**more), streamed=True, sse=sse)

    return talk


# Blocks, what goes out of them without thoughts, and with thoughts.
ANSWERS = [
    ([text("a"), text(""), text("b")], [{"text": "a"}, {"text": "b"}], None),
    # Google's own models want a signature on the first call of a step, should they go on with it.
    ([use(), use()], [call(thoughtSignature=signatures.UNSIGNED_CALL), call()], None),
    ([thinking("T"), text("a")], [{"text": "a"}], [{"text": "T", "thought": True}, {"text": "a"}]),
    (
        [thinking("T", SIGNED), text("a")],
        [{"text": "a", "thoughtSignature": SIGNED}],
        [{"text": "T", "thought": True, "thoughtSignature": SIGNED}, {"text": "a"}],
    ),
    # Where it stood on what follows, it stands there again.
    ([text("a"), thinking("", SIGNED), use()], [{"text": "a"}, call(thoughtSignature=SIGNED)], None),
    (
        [thinking("", SIGNED), thinking("", OTHER), use()],
        [{"text": "", "thoughtSignature": SIGNED}, call(thoughtSignature=OTHER)],
        None,
    ),
    ([text("a"), thinking("", SIGNED)], [{"text": "a"}, {"text": "", "thoughtSignature": SIGNED}], None),
]


@pytest.mark.parametrize(("content", "plain", "shown"), ANSWERS)
def test_a_whole_answer(talk, content, plain, shown):
    message = Message("up", "up-model", content, "end_turn", usage=USAGE)
    for thoughts, parts in ((False, plain), (True, shown or plain)):
        body = talk(thoughts=thoughts).answer(message)
        assert json.loads(body) == {
            "candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": FIGURES,
            **TAIL,
        }
        read = types.GenerateContentResponse.model_validate_json(body)
        assert len(read.candidates[0].content.parts) == len(parts)
        assert read.usage_metadata.total_token_count == 27


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "STOP"),
        ("stop_sequence", "STOP"),
        ("tool_use", "STOP"),
        ("pause_turn", "STOP"),
        ("max_tokens", "MAX_TOKENS"),
        ("model_context_window_exceeded", "MAX_TOKENS"),
        ("refusal", "SAFETY"),
    ],
)
def test_why_an_answer_ended(talk, reason, finish):
    answer = json.loads(talk().answer(Message("", "", [text("a")], reason)))
    assert answer["candidates"][0]["finishReason"] == finish
    assert answer["usageMetadata"] == {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}
    writer = talk().writer()
    stream = feed(writer, [text("a")], reason)
    assert chunks(stream)[-1]["candidates"][0]["finishReason"] == finish


def test_a_refusal_that_says_nothing_has_no_content(talk):
    wanted = [{"finishReason": "SAFETY", "index": 0}]
    body = talk().answer(Message("", "", [], "refusal"))
    assert json.loads(body)["candidates"] == wanted
    assert types.GenerateContentResponse.model_validate_json(body).text is None
    assert [chunk["candidates"] for chunk in chunks(feed(talk().writer(), [], "refusal"))] == [wanted]


def test_calls_get_the_clients_own_names_back(gemini):
    body = gemini.asked(tools=[{"functionDeclarations": [{"name": "a.b"}]}])
    conversation = gemini.conversation(body)
    disguise = conversation.request.body["tools"][0]["name"]
    answer = json.loads(conversation.answer(Message("", "", [use(disguise)], "tool_use")))
    assert answer["candidates"][0]["content"]["parts"][0]["functionCall"]["name"] == "a.b"
    stream = chunks(feed(conversation.writer(), [use(disguise)], "tool_use"))
    assert stream[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["name"] == "a.b"


# Streams


def events(content, reason="end_turn", usage=USAGE, piece=1):
    """The canonical events of an answer, its texts cut into pieces."""
    yield c.MessageStart("up", "up-model", UsageReport(input_tokens=10))
    for index, block in enumerate(content):
        kind = block["type"]
        if kind == "text":
            yield c.BlockStart(index, {"type": "text", "text": ""})
            yield from (c.TextDelta(index, block["text"][i : i + piece]) for i in range(0, len(block["text"]), piece))
        elif kind == "thinking":
            yield c.BlockStart(index, {"type": "thinking", "thinking": "", "signature": ""})
            said = block["thinking"]
            yield from (c.ThinkingDelta(index, said[i : i + piece]) for i in range(0, len(said), piece))
            if block["signature"]:
                yield c.SignatureDelta(index, block["signature"])
        else:
            yield c.BlockStart(index, {**block, "input": {}})
            said = json.dumps(block["input"]) if isinstance(block["input"], dict) else block["input"]
            yield c.InputDelta(index, "")
            yield from (c.InputDelta(index, said[i : i + piece]) for i in range(0, len(said), piece))
        yield c.BlockStop(index)
        yield c.Ping()
    yield c.MessageDelta(reason, usage=usage)
    yield c.MessageStop()


def feed(writer, content, reason="end_turn", **how):
    return b"".join(writer.write(event) for event in events(content, reason, **how))


def chunks(stream):
    """Read a stream as Google's SDK does."""
    return list(HttpResponse({}, httpx.Response(200, content=stream)).segments())


def parts_of(stream):
    found = []
    for chunk in chunks(stream):
        types.GenerateContentResponse.model_validate(chunk)
        assert {"modelVersion": chunk["modelVersion"], "responseId": chunk["responseId"]} == TAIL
        (candidate,) = chunk["candidates"]
        assert candidate["content"]["role"] == "model"
        found += candidate["content"]["parts"]
    return found


@pytest.mark.parametrize(("content", "plain", "shown"), ANSWERS)
def test_a_stream(talk, content, plain, shown):
    for thoughts, parts in ((False, plain), (True, shown or plain)):
        stream = feed(talk(thoughts=thoughts).writer(), content, piece=99)
        found = parts_of(stream)
        # The signature of a thought that has been shown comes as a part of its own.
        wanted = []
        for part in parts:
            if part.get("thought") and part.get("thoughtSignature"):
                wanted += [{"text": part["text"], "thought": True}, {**part, "text": ""}]
            else:
                wanted.append(part)
        last = {"text": ""} if wanted[-1].get("text") != "" else None
        assert found == ([*wanted, last] if last else wanted)
        end = chunks(stream)[-1]
        assert end["candidates"][0]["finishReason"] == "STOP"
        assert end["usageMetadata"] == FIGURES
        assert all("usageMetadata" not in chunk for chunk in chunks(stream)[:-1])


def test_pieces_go_out_as_they_come(talk):
    writer = talk().writer()
    out = [writer.write(event) for event in events([text("ab\u2028"), use()], "tool_use")]
    assert [len(chunks(one)) for one in out] == [0, 0, 1, 1, 1, 0, 0, 0, *[0] * 9, 1, 0, 0, 1]
    assert chunks(b"".join(out))[2]["candidates"][0]["content"]["parts"] == [{"text": "\u2028"}]


def test_one_chunk_to_the_letter(talk):
    assert talk().writer().write(c.TextDelta(0, 'a"\n')) == (
        b'data: {"candidates":[{"content":{"parts":[{"text":"a\\"\\n"}],"role":"model"},"index":0}],'
        b'"modelVersion":"claude-x","responseId":"0af0af0af0af0af0af0af0af0af0af12"}\r\n\r\n'
    )


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c"])
def test_a_chunk_is_one_line_for_whoever_cuts_lines_too_often(talk, separator):
    for event in (c.TextDelta(0, f"a{separator}é"), c.BlockStart(0, text(f"a{separator}é"))):
        out = talk().writer().write(event)
        assert len(out.decode().splitlines()) == 2
        assert chunks(out)[0]["candidates"][0]["content"]["parts"] == [{"text": f"a{separator}é"}]


def test_what_others_tell_in_the_beginning_of_a_block(talk):
    writer = talk(thoughts=True).writer()
    out = b""
    for block in (text("a"), thinking("T", SIGNED), use()):
        out += writer.write(c.BlockStart(0, block)) + writer.write(c.BlockStop(0))
    assert [chunk["candidates"][0]["content"]["parts"] for chunk in chunks(out)] == [
        [{"text": "a"}],
        [{"text": "T", "thought": True}],
        [{"text": "", "thought": True, "thoughtSignature": SIGNED}],
        [call(thoughtSignature=signatures.UNSIGNED_CALL)],
    ]


@pytest.mark.parametrize("given", ['{"x": ', "[1]", "5", "null", "nonsense"])
@pytest.mark.parametrize(("reason", "finish"), [("tool_use", "MALFORMED_FUNCTION_CALL"), ("max_tokens", "MAX_TOKENS")])
def test_a_call_that_was_cut_short_is_left_out(talk, given, reason, finish):
    found = chunks(feed(talk().writer(), [text("a"), use(given=given)], reason, piece=99))
    assert [chunk["candidates"][0]["content"]["parts"] for chunk in found] == [[{"text": "a"}], [{"text": ""}]]
    assert found[-1]["candidates"][0]["finishReason"] == finish


def test_a_call_with_half_a_surrogate_pair(talk):
    found = chunks(feed(talk().writer(), [use(given=r'{"x": "\ud83d", "y": NaN}')], "tool_use", piece=5))
    [part] = found[0]["candidates"][0]["content"]["parts"]
    assert part["functionCall"]["args"] == {"x": "\ufffd", "y": None}


def test_a_call_that_is_nested_too_deeply_is_left_out(talk):
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    answer = json.loads(talk().answer(Message("", "", [text("a"), use(given=deep)], "tool_use")))
    assert answer["candidates"][0]["content"]["parts"] == [{"text": "a"}]
    assert answer["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"


def test_a_call_without_arguments(talk):
    writer = talk().writer()
    out = b"".join(writer.write(e) for e in (c.BlockStart(0, use(given={})), c.InputDelta(0, ""), c.BlockStop(0)))
    assert chunks(out)[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == {}


def test_later_usage_replaces_and_never_adds(talk):
    writer = talk().writer()
    for usage in (UsageReport(input_tokens=10, output_tokens=1), UsageReport(output_tokens=7)):
        assert writer.write(c.MessageDelta(None, usage=usage)) == b""
    writer.write(c.MessageDelta("end_turn"))
    (end,) = chunks(writer.write(c.MessageStop()))
    assert end["usageMetadata"] == {"promptTokenCount": 10, "candidatesTokenCount": 7, "totalTokenCount": 17}


def test_citations_and_unknown_blocks_say_nothing(talk):
    writer = talk().writer()
    unknown = {"type": "server_tool_use", "id": "1", "name": "x", "input": {}}
    for event in (c.CitationDelta(0, {}), c.BlockStart(0, unknown), c.InputDelta(0, "{}"), c.BlockStop(0)):
        assert writer.write(event) == b""
    assert json.loads(talk().answer(Message("", "", [unknown, text("a")], "end_turn")))["candidates"][0]["content"] == {
        "parts": [{"text": "a"}],
        "role": "model",
    }


# Keep-alives, errors, and the array


def test_a_keep_alive_is_nothing_to_googles_sdk(gemini, talk):
    """A comment, which is one elsewhere, makes the SDK raise."""
    ping = DIALECT.ping(gemini.head(gemini.asked()))
    writer = talk().writer()
    assert writer.write(c.Ping()) == ping
    first = writer.write(c.TextDelta(0, "a"))
    assert [len(chunks(one)) for one in (ping, ping + first, ping + ping + first + ping)] == [0, 1, 1]
    with pytest.raises(sdk_errors.UnknownApiResponseError):
        chunks(b": keep-alive\n\n" + first)


def test_a_stream_that_fails(talk):
    writer = talk().writer()
    stream = writer.write(c.TextDelta(0, "a")) + writer.fail(PROBLEM)
    _, error = chunks(stream)
    assert b"finishReason" not in stream
    assert error == {
        "error": {
            "code": 503,
            "message": "the provider is overloaded",
            "status": "UNAVAILABLE",
            "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}],
        }
    }


def test_the_array_form(talk, gemini):
    content = [text("ab"), use()]
    stream = feed(talk(sse=False).writer(), content, "tool_use")
    assert stream.startswith(b"[")
    assert json.loads(stream) == chunks(feed(talk().writer(), content, "tool_use"))
    head = gemini.head(gemini.asked(), streamed=True, sse=False)
    ping = DIALECT.ping(head)
    assert json.loads(ping + ping + stream) == json.loads(stream)


def test_the_array_form_of_a_stream_that_fails(talk, gemini):
    writer = talk(sse=False).writer()
    stream = writer.write(c.TextDelta(0, "a")) + writer.fail(PROBLEM)
    assert [next(iter(element)) for element in json.loads(stream)] == ["candidates", "error"]
    head = gemini.head(gemini.asked(), streamed=True, sse=False)
    (only,) = json.loads(b"\n" + DIALECT.error_event(PROBLEM, "req_1", head))
    assert only["error"]["code"] == 503
