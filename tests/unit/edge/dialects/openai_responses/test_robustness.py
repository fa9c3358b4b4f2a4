"""No body does anything but be read or be refused."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.dialects.openai_responses import DIALECT
from penstock_edge.errors import ProblemError
from penstock_edge.providers.openai_responses import WIRE
from penstock_edge.providers.wire import Addressee
from tests.unit.edge.dialects.openai_responses.conversations import CODEX, of

# What a body is made of: far likelier to reach deep than random words.
WORDS = st.sampled_from(
    [
        "model",
        "input",
        "instructions",
        "tools",
        "type",
        "role",
        "content",
        "text",
        "name",
        "namespace",
        "call_id",
        "id",
        "arguments",
        "output",
        "message",
        "user",
        "assistant",
        "developer",
        "input_text",
        "output_text",
        "input_image",
        "image_url",
        "input_file",
        "file_data",
        "function",
        "custom",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "local_shell_call",
        "action",
        "tool_search_output",
        "shell_call",
        "commands",
        "apply_patch_call",
        "operation",
        "additional_tools",
        "reasoning",
        "summary",
        "effort",
        "format",
        "json_schema",
        "schema",
        "tool_choice",
        "allowed_tools",
        "mode",
        "required",
        "metadata",
        "user_id",
        "include",
        "data:image/png;base64,AA==",
        "https://x.example/",
        "{}",
        '{"a":1}',
        "web_search",
        "item_reference",
    ]
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), WORDS
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=25,
)


def understood(body):
    with contextlib.suppress(ProblemError):
        request = of(body).request
        for message in request.body["messages"]:
            assert message["content"]
            assert message["role"] in {"user", "assistant"}
        WIRE.write(request, Addressee("OpenAI", "gpt-5.2", 1000), streamed=True)


@given(st.dictionaries(WORDS, VALUES, max_size=8), st.lists(st.dictionaries(WORDS, VALUES, max_size=6), max_size=4))
def test_anything_that_is_json(fields, items):
    understood(json.dumps({**fields, "model": "m", "input": items}).encode())


@given(st.data())
def test_anything_in_place_of_anything(data):
    document = json.loads(CODEX)
    for _ in range(data.draw(st.integers(1, 3))):
        place = document
        while True:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
                place[key] = data.draw(VALUES)
                break
            place = place[key]
    with contextlib.suppress(ProblemError):
        understood(json.dumps(document).encode())


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","input":"\\ud800"}',
        b'{"model":"m","input":"x","max_output_tokens":' + b"9" * 400 + b"}",
        b'{"model":"m","input":"x","temperature":1e400}',
        b'{"model":"m","input":[{"role":"user","content":' + b"[" * 900 + b"]" * 900 + b"}]}",
        b'{"model":"m","input":"x","text":' + b'{"a":' * 990 + b"1" + b"}" * 990 + b"}",
        b'{"model":"m","input":"x","tools":[{"type":"function","name":"f","strict":true,"parameters":{"type":"object",'
        b'"additionalProperties":false,"properties":' + b'{"items":' * 940 + b"{}" + b"}" * 940 + b"}}]}",
        b'{"model":"m","input":[{"role":"user","content":"x"},{"type":"function_call","name":"f","call_id":"1",'
        b'"arguments":"' + b'{\\"a\\":' * 980 + b"1" + b"}" * 980 + b'"}]}',
    ],
)
def test_monsters(body):
    with contextlib.suppress(ProblemError):
        DIALECT.head(body)
        understood(body)
