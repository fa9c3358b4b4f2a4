"""Requests that pass untranslated after another provider had its turn: nothing in them gives offence."""

from __future__ import annotations

import json

import pytest

from penstock_edge import foreign_thinking, signatures

FOREIGN, OWN_CLAUDE = signatures.tag("sig", "OpenAI"), signatures.tag("sig", "Anthropic")
BY_OTHERS = "thinking signed by another provider"


def cleaned(document, wire, provider):
    body, listed = foreign_thinking.cleaned(json.dumps(document).encode(), wire, provider)
    return json.loads(body), listed


def user(*content):
    return {"role": "user", "content": list(content)}


def assistant(*content):
    return {"role": "assistant", "content": list(content)}


def text(words):
    return {"type": "text", "text": words}


def thinking(signature):
    return {"type": "thinking", "thinking": "hm", "signature": signature}


CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "1"}


def test_a_message_of_nothing_but_foreign_thinking_goes_whole():
    document = {"messages": [user(text("a")), assistant(thinking(FOREIGN)), {"role": "user", "content": "b"}]}
    assert cleaned(document, "messages", "Anthropic") == (
        {"messages": [user(text("a")), {"role": "user", "content": "b"}]},
        [f"messages.1.content.0 ({BY_OTHERS})"],
    )


@pytest.mark.parametrize(
    ("thinks", "turns", "kept"),
    [
        ({"type": "enabled", "budget_tokens": 2000}, [assistant(thinking(FOREIGN), CALL), user(RESULT)], False),
        ({"type": "adaptive"}, [assistant(thinking(FOREIGN), CALL), user(RESULT)], True),
        ({"type": "enabled", "budget_tokens": 2000}, [assistant(thinking("raw"), CALL), user(RESULT)], True),
        (
            {"type": "enabled", "budget_tokens": 2000},
            [assistant(thinking(FOREIGN), CALL), user(RESULT), assistant(text("so")), user(text("on"))],
            True,
        ),
    ],
)
def test_a_budget_goes_with_the_thinking_that_had_to_go(thinks, turns, kept):
    edits = [{"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}]
    messages = [user(text("a")), assistant(thinking(FOREIGN), text("b")), user(text("c")), *turns]
    document = {"messages": messages, "thinking": thinks, "context_management": {"edits": edits}}
    body, listed = cleaned(document, "messages", "Anthropic")
    assert FOREIGN not in json.dumps(body)
    assert ("thinking" in body, "thinking" in listed) == (kept, not kept)
    assert body["context_management"]["edits"] == (edits if kept else edits[1:])


@pytest.mark.parametrize("nested", [False, True])
def test_parts_and_contents_that_have_become_empty_go_too(nested):
    call = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": FOREIGN}
    document = {
        "contents": [
            {"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [{"text": "hm", "thought": True, "thoughtSignature": FOREIGN}]},
            {"role": "user", "parts": [{"text": "b"}]},
            {"role": "model", "parts": [{"text": "c"}, {"text": "", "thoughtSignature": FOREIGN}, call]},
        ]
    }
    body, listed = cleaned({"generateContentRequest": document} if nested else document, "generate", "Gemini")
    contents = (body["generateContentRequest"] if nested else body)["contents"]
    assert [content["parts"] for content in contents] == [
        [{"text": "a"}],
        [{"text": "b"}],
        [{"text": "c"}, {**call, "thoughtSignature": signatures.UNSIGNED_CALL}],
    ]
    assert len(listed) == 3


def chat(provider):
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    signed = {**call, "extra_content": {"google": {"thought_signature": OWN_CLAUDE}}}
    message = {"role": "assistant", "content": "x", "reasoning_content": "hm", "tool_calls": [signed, call]}
    document = {"messages": [{"role": "user", "content": "a"}, message]}
    body, listed = cleaned(document, "chat", provider)
    return body["messages"][1], listed, call


def test_openai_is_shown_no_thinking_in_chats():
    message, listed, call = chat("OpenAI")
    assert message == {"role": "assistant", "content": "x", "tool_calls": [call, call]}
    assert "messages.1.reasoning_content" in listed


def test_a_compatible_server_sees_the_thinking_that_it_may_have_shown():
    message, listed, call = chat("OpenAICompatible")
    assert message["reasoning_content"] == "hm"
    assert message["tool_calls"] == [call, call]
    assert len(listed) == 1


@pytest.mark.parametrize(
    ("body", "wire", "provider", "origins", "concerned"),
    [
        (b"{}", "messages", "Anthropic", (), False),
        (b"{}", "messages", "Anthropic", ("Gemini",), True),
        (b'{"reasoning_content": "x"}', "chat", "OpenAI", (), True),
        (b'{"extra_content": {}}', "chat", "OpenAI", (), True),
        (b'{"reasoning_content": "x"}', "chat", "OpenAICompatible", (), False),
        (b'{"reasoning_content": "x"}', "messages", "Anthropic", (), False),
    ],
)
def test_only_what_is_concerned_is_touched(body, wire, provider, origins, concerned):
    assert foreign_thinking.concerns(body, wire, provider, origins) is concerned


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[1]",
        b"null",
        b'{"messages": 5}',
        b'{"messages": [5, null, {"role": "assistant", "content": [5]}]}',
        b"[" * 5000 + b"]" * 5000,
        b'{"a": "\xff"}',
        b'{"contents": [{"parts": 5}, 5]}',
        b'{"tool_calls": 1}',
    ],
)
@pytest.mark.parametrize("wire", ["messages", "generate", "chat", "responses"])
def test_junk_passes_for_the_upstream_to_judge(body, wire):
    said, listed = foreign_thinking.cleaned(body, wire, "OpenAI")
    assert listed == []
    try:
        assert json.loads(said) == json.loads(body)
    except (ValueError, RecursionError):
        assert said == body
