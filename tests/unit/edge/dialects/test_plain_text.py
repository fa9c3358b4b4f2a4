"""What is taken for plain text at a glance holds nothing that a closer look would find."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import signatures
from penstock_edge.dialects import anthropic, openai_chat
from penstock_edge.dialects.openai_responses.dialect import DIALECT as RESPONSES
from penstock_edge.estimates import has_blobs

READ = {"messages": anthropic.DIALECT.head, "chat": openai_chat.DIALECT.head, "responses": RESPONSES.head}
LONG = "word " * 2_000
DATA = base64.b64encode(b"\x07" * 300).decode()
TAG = signatures.tag("s", "Gemini")

TEXTS = st.sampled_from(
    [
        LONG,
        "short",
        f'"type":"base64" {DATA}"',
        f"data:image/png;base64,{DATA}",
        f'"{TAG}"',
        '"}',
        'x","role":"user"}',
        'x","role":"user',
    ]
)
IMAGES = {
    "messages": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
    "chat": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
    "responses": {"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"},
}
SIGNED = {
    "messages": {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": TAG}]},
    "chat": {"role": "assistant", "content": "c", "extra_content": {"google": {"thought_signature": TAG}}},
    "responses": {"type": "reasoning", "summary": [], "encrypted_content": TAG},
}


@st.composite
def requests(draw):
    wire = draw(st.sampled_from(sorted(READ)))
    items, holds_blob, holds_tag = [], False, False
    for kind in draw(st.lists(st.sampled_from(["user", "assistant", "system", "image", "signed"]), max_size=6)):
        if kind == "image":
            holds_blob = True
            parts = [{"type": "text", "text": draw(TEXTS)}, IMAGES[wire], {"type": "text", "text": draw(TEXTS)}]
            items.append({"role": "user", "content": parts})
        elif kind == "signed":
            holds_tag = True
            items.append(SIGNED[wire])
        else:
            items.append({"role": kind, "content": draw(TEXTS)})
    listed = {"responses": "input"}.get(wire, "messages")
    body = {"model": "m", "max_tokens": 5, listed: items, "system": draw(TEXTS)}
    if draw(st.booleans()):
        body = dict(reversed(body.items()))
    separators = draw(st.sampled_from([None, (",", ":")]))
    indent = draw(st.sampled_from([None, 2]))
    text = json.dumps(body, separators=separators, indent=indent, sort_keys=draw(st.booleans()))
    return wire, text.encode(), holds_blob, holds_tag


@given(requests())
def test_a_plain_request_holds_neither_blobs_nor_signatures(request_):
    wire, body, holds_blob, holds_tag = request_
    plain = READ[wire](body).plain
    assert not (plain and (holds_blob or holds_tag))
    if holds_blob:
        assert has_blobs(body, wire)
    if holds_tag:
        assert signatures.origins(body) == {"Gemini"}


@pytest.mark.parametrize("separators", [None, (",", ":")])
@pytest.mark.parametrize("wire", ["messages", "chat"])
@pytest.mark.parametrize("sort_keys", [False, True])
def test_a_long_prompt_of_text_is_seen_to_be_plain(wire, separators, sort_keys):
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": LONG}]
    body = {"model": "m", "max_tokens": 5, "messages": messages}
    assert READ[wire](json.dumps(body, separators=separators, sort_keys=sort_keys).encode()).plain


@pytest.mark.parametrize("last", ["assistant", "tool"])
def test_what_assistants_said_is_not_plain(last):
    messages = [{"content": LONG, "role": "user"}, {"content": LONG, "role": last}]
    assert not READ["chat"](json.dumps({"messages": messages, "model": "m"}).encode()).plain


def test_a_string_as_input_is_plain():
    assert READ["responses"](json.dumps({"model": "m", "input": LONG}).encode()).plain


@pytest.mark.parametrize(
    "message",
    [
        '{"content":"TEXT","role":"user","name":"a"}',
        '{"content":[{"type":"text","text":"TEXT"}],"role":"user"}',
        '{"role":"assistant","content":"TEXT"}',
        '{"role":"user","content":"TEXT","name":{"a":"b"}}',
        '{"role":"user","content":[{"type":"text","text":"TEXT"}]}',
        '{"role":"user","content":"TEXT" }',
        '["TEXT"]',
    ],
)
def test_other_messages_are_looked_at_closely(message):
    body = '{"model":"m","max_tokens":5,"messages":[' + message.replace("TEXT", LONG) + "]}"
    assert not READ["messages"](body.encode()).plain


def test_so_is_a_short_body():
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    assert not READ["messages"](json.dumps(body).encode()).plain
