"""Turns of a conversation: parts as blocks, calls and their results, thinking and who signed it."""

from __future__ import annotations

import base64
from unittest.mock import ANY

import pytest

from penstock_edge import signatures

PIXEL = "aGVsbG8="
SIGNED = signatures.tag("c2ln", "Anthropic")


def user(*parts):
    return {"role": "user", "parts": list(parts)}


def model(*parts):
    return {"role": "model", "parts": list(parts)}


def call(name="f", args=None, **more):
    return {"functionCall": {"name": name, "args": args or {}, **more}}


def back(name="f", response=None, **more):
    return {"functionResponse": {"name": name, "response": response or {"result": "ok"}, **more}}


def text(words):
    return {"type": "text", "text": words}


@pytest.fixture
def read(gemini):
    def read(*contents):
        return gemini.conversation({"contents": list(contents)}).request.body["messages"]

    return read


@pytest.fixture
def blocks(read):
    """Read the parts of one user turn."""

    def blocks(*parts):
        (message,) = read(user(*parts))
        return message["content"]

    return blocks


def test_what_stands_around_a_turn_that_says_nothing_is_one_turn(read):
    assert read(
        user({"text": "a"}), model(call("f"), call("g")), user(back("f")), model({"text": ""}), user(back("g"))
    ) == [
        {"role": "user", "content": [text("a")]},
        {"role": "assistant", "content": [ANY, ANY]},
        {"role": "user", "content": [ANY, ANY]},
    ]


def test_turns_alternate_and_the_empty_ones_go(read):
    assert read(
        {"parts": {"text": "a"}}, user({"text": "b"}), model({"text": ""}), model(), model({"text": "c"}, {"text": "d"})
    ) == [
        {"role": "user", "content": [text("a"), text("b")]},
        # What was streamed is kept piece by piece: the model said it in one.
        {"role": "assistant", "content": [text("cd")]},
    ]


def test_a_message_that_becomes_empty_joins_its_neighbours(read):
    assert read(user({"text": "a"}), model({"text": ""})) == [{"role": "user", "content": [text("a")]}]


@pytest.mark.parametrize("contents", [[], [user()], [user({"text": ""})], [{"role": "model"}], [user({"text": None})]])
def test_something_must_be_said(gemini, contents):
    assert gemini.refusal({"contents": contents}) == "contents: at least one part that is not empty is required"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hi", "contents.0: Input should be a valid dictionary"),
        ({"role": "system", "parts": []}, "contents.0.role: Input should be 'user' or 'model'"),
        ({"role": 5, "parts": []}, "contents.0.role: Input should be a valid string"),
        ({"parts": "hi"}, "contents.0.parts: Input should be a valid list"),
        ({"parts": ["hi"]}, "contents.0.parts.0: Input should be a valid dictionary"),
        ({"parts": [{"text": 5}]}, "contents.0.parts.0.text: Input should be a valid string"),
        (user(call()), "contents.0.parts.0.functionCall: function calls belong to role 'model'"),
        (model(back()), "contents.0.parts.0.functionResponse: function responses belong to role 'user'"),
        (model({"functionCall": {}}), "contents.0.parts.0.functionCall.name: field required"),
        (
            model({"function_call": {"name": "f", "args": []}}),
            "contents.0.parts.0.function_call.args: Input should be a valid dictionary",
        ),
        (user(back()), "contents.0.parts.0.functionResponse: there is no function call that this answers"),
    ],
)
def test_what_is_wrong_is_named(gemini, content, message):
    assert gemini.refusal({"contents": [content]}) == message


# Images and documents


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            {"inlineData": {"mimeType": "image/PNG", "data": PIXEL, "displayName": "x"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        ),
        (
            # The Python SDK writes the URL-safe alphabet.
            {"inline_data": {"mime_type": "application/pdf", "data": "_-8="}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "/+8="}},
        ),
        (
            {"inlineData": {"mimeType": "text/markdown", "data": base64.b64encode("# é".encode()).decode()}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "# é"}},
        ),
        (
            {"fileData": {"fileUri": "https://a.example/b.JPG?c"}},
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b.JPG?c"}},
        ),
        (
            {"file_data": {"file_uri": "https://a.example/b", "mime_type": "application/pdf"}},
            {"type": "document", "source": {"type": "url", "url": "https://a.example/b"}},
        ),
    ],
)
def test_media(blocks, part, block):
    assert blocks({"text": "see"}, part) == [text("see"), block]


MIME = "only JPEG, PNG, GIF, WebP and PDF can be carried to this provider"
ELSEWHERE = "files of another provider cannot be reached by this one"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"inlineData": {"mimeType": "audio/wav", "data": PIXEL}}, f"inlineData.mimeType: {MIME}"),
        ({"inlineData": {"data": PIXEL}}, f"inlineData.mimeType: {MIME}"),
        ({"inlineData": {"mimeType": "image/png"}}, "inlineData.data: field required"),
        (
            {"inlineData": {"mimeType": "text/plain", "data": "/w=="}},
            "inlineData.data: Input should be base64 of UTF-8",
        ),
        ({"inlineData": "x"}, "inlineData: Input should be a valid dictionary"),
        ({"fileData": {"fileUri": "gs://bucket/x.png"}}, f"fileData.fileUri: {ELSEWHERE}"),
        (
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
            f"fileData.fileUri: {ELSEWHERE}",
        ),
        ({"fileData": {"fileUri": "https://youtu.be/abc"}}, f"fileData.mimeType: {MIME}"),
        ({"fileData": {}}, f"fileData.fileUri: {ELSEWHERE}"),
    ],
)
def test_media_that_others_cannot_read(gemini, part, message):
    assert gemini.refusal({"contents": [user(part)]}).startswith(f"contents.0.parts.0.{message}")


# Calls and results


def test_calls_without_ids_get_one_of_their_position(read):
    messages = read(
        user({"text": "go"}),
        model({"text": "ok"}, call(args={"x": 1}), call("g"), call()),
        user({"text": "and"}, back("g"), back(), back(response={"error": "no"})),
    )
    assert [(b["id"], b["name"], b["input"]) for b in messages[1]["content"][1:]] == [
        ("call_1_1", "f", {"x": 1}),
        ("call_1_2", "g", {}),
        ("call_1_3", "f", {}),
    ]
    # Results come first in their message, and find their calls by name and order.
    assert [b.get("tool_use_id") for b in messages[2]["content"]] == ["call_1_2", "call_1_1", "call_1_3", None]
    assert messages[2]["content"][2] == {
        "type": "tool_result",
        "tool_use_id": "call_1_3",
        "content": "no",
        "is_error": True,
    }


def test_ids_are_kept_and_found(read):
    messages = read(
        user({"text": "go"}),
        model(call(id="one"), call(id="two")),
        user(back(id="two", response={"a": 1}), back(response={"output": [1]})),
    )
    assert [b["id"] for b in messages[1]["content"]] == ["one", "two"]
    assert [(b["tool_use_id"], b["content"]) for b in messages[2]["content"]] == [("two", '{"a":1}'), ("one", "[1]")]


def test_ids_that_others_refuse_or_that_come_twice_are_replaced(read):
    messages = read(
        user({"text": "go"}),
        model(call(id="a b"), call(id="x"), call(id="x"), call(id="call_1_2")),
        user(back(id="a b"), back(id="unknown")),
    )
    ids = [b["id"] for b in messages[1]["content"]]
    assert ids == ["call_1_0", "x", "call_1_2", "call_1_3"]
    assert [b["tool_use_id"] for b in messages[2]["content"]] == ["call_1_0", "x"]


def test_the_role_of_results_may_be_function_or_tool(read):
    for role in ("function", "tool"):
        messages = read(user({"text": "go"}), model(call()), {"role": role, "parts": [back()]})
        assert messages[2]["role"] == "user"


def test_a_second_result_of_one_call_has_nothing_to_answer(gemini):
    contents = [user({"text": "go"}), model(call()), user(back(), back())]
    assert gemini.refusal({"contents": contents}).startswith("contents.2.parts.1.functionResponse: ")


def test_results_with_images(read):
    part = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    messages = read(user({"text": "go"}), model(call()), user(back(response={"result": "see"}, parts=[part])))
    assert messages[2]["content"][0]["content"] == [text("see"), image]


@pytest.mark.parametrize("name", ["a.b", "a:b", "x" * 200, "é", "a b"])
def test_names_that_others_refuse_travel_in_disguise(gemini, name):
    body = {
        "contents": [user({"text": "go"}), model(call(name)), user(back(name))],
        "tools": [{"functionDeclarations": [{"name": name}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [name]}},
    }
    found = gemini.conversation(body).request.body
    disguise = found["tools"][0]["name"]
    assert disguise != name
    assert disguise.isascii() and len(disguise) <= 64 and disguise.replace("_", "").replace("-", "").isalnum()
    assert found["messages"][1]["content"][0]["name"] == found["tool_choice"]["name"] == disguise
    # Two such names never meet.
    other = gemini.conversation(gemini.asked(tools={"functionDeclarations": [{"name": name + "."}]})).request.body
    assert other["tools"][0]["name"] != disguise


# Thinking


def thinking(words, signature):
    return {"type": "thinking", "thinking": words, "signature": signature}


@pytest.mark.parametrize(
    ("parts", "content"),
    [
        (
            [{"text": "T", "thought": True, "thoughtSignature": SIGNED}, {"text": "a"}],
            [thinking("T", SIGNED), text("a")],
        ),
        # Streams, piece by piece.
        (
            [
                {"text": "T", "thought": True},
                {"text": "U", "thought": True},
                {"thought": True, "thoughtSignature": SIGNED},
            ],
            [thinking("TU", SIGNED)],
        ),
        (
            [{"text": "a"}, {"text": "b", "thought_signature": SIGNED}, {"text": "c"}],
            [text("a"), thinking("", SIGNED), text("bc")],
        ),
        ([{"text": "", "thoughtSignature": SIGNED}], [thinking("", SIGNED)]),
        (
            [{**call(), "thoughtSignature": SIGNED}],
            [thinking("", SIGNED), {"type": "tool_use", "id": "call_0_0", "name": "f", "input": {}}],
        ),
        ([{"text": "T", "thought": True}, {"text": "a"}], [thinking("T", ""), text("a")]),
        ([{"text": "", "thought": True}, {"text": "a"}], [text("a")]),
    ],
)
def test_thinking_stands_where_it_stood(read, parts, content):
    assert read(model(*parts)) == [{"role": "assistant", "content": content}]


def test_a_signature_without_a_tag_is_googles_own(read):
    (message,) = read(model({"text": "a", "thoughtSignature": "c2ln"}))
    assert message["content"][0]["signature"] == signatures.tag("c2ln", "Gemini")


def test_a_signature_in_the_other_alphabet_keeps_its_tag(read):
    tagged = signatures.tag("~~~???>>>", "OpenAI")
    assert {"+", "/"} & set(tagged)
    (message,) = read(model({"text": "a", "thoughtSignature": tagged.replace("+", "-").replace("/", "_")}))
    assert message["content"][0]["signature"] == tagged


@pytest.mark.parametrize("form", [signatures.UNSIGNED_CALL, signatures.UNSIGNED_CALL.replace("_", "/")])
def test_what_stands_in_place_of_a_signature_is_none(read, form):
    (message,) = read(model(call(thoughtSignature=form)))
    assert [block["type"] for block in message["content"]] == ["tool_use"]


def test_what_cannot_be_carried_is_listed(gemini):
    body = {
        "contents": [
            {"parts": [{"text": "a", "videoMetadata": {"fps": 1}, "partMetadata": None}], "name": "x"},
            model({"executableCode": {"code": "1"}}, {"inline_data": {"mimeType": "audio/wav", "data": PIXEL}}, call()),
            user(back(scheduling="SILENT")),
        ]
    }
    assert gemini.conversation(body).request.ignored == [
        "contents.0.name",
        "contents.0.parts.0.videoMetadata",
        "contents.1.parts.0.executableCode",
        "contents.1.parts.1.inline_data",
        "contents.2.parts.0.functionResponse.scheduling",
    ]
