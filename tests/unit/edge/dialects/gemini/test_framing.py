"""Streams of Gemini accounts for clients that read one JSON array."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.dialects.gemini import DIALECT
from penstock_edge.dialects.gemini.framing import ArrayFraming
from penstock_edge.errors import Problem

PROBLEM = Problem(502, "api_error", "the provider failed")


def test_who_gets_which_form(gemini):
    sse = gemini.head(gemini.asked(), streamed=True)
    array = gemini.head(gemini.asked(), streamed=True, sse=False)
    assert DIALECT.framing(sse) is None
    assert DIALECT.framing(array) is not DIALECT.framing(array)
    assert dict(DIALECT.stream_headers(sse))[b"content-type"] == b"text/event-stream"
    assert dict(DIALECT.stream_headers(array))[b"content-type"] == b"application/json; charset=UTF-8"
    assert not DIALECT.hides_usage(sse)


@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=3), min_size=1), max_size=4), st.booleans())
def test_an_array_is_json_however_it_ends(objects, whole):
    framing = ArrayFraming()
    out = b"\n"
    for one in objects:
        out += (
            framing.event(b": comment\n\n") + framing.event(b"data: " + json.dumps(one).encode() + b"\r\n\r\n") + b"\n"
        )
    out += framing.close() if whole else framing.fail(PROBLEM, "req_1")
    read = json.loads(out)
    assert read[: len(objects)] == objects
    assert [list(extra) for extra in read[len(objects) :]] == ([] if whole else [["error"]])


@pytest.mark.parametrize(
    ("raw", "out"),
    [
        (b'data: {"a":\ndata: 1}\n\n', b'[{"a":\n1}'),
        # An error is told by `fail`, which closes the array too.
        (b'data: {"error": {"code": 503}}\n\n', b""),
        (b'{"error": {"code": 503}}\n\n', b""),
        (b'data: {"error": null, "a": 1}\n\n', b'[{"error": null, "a": 1}'),
        (b'data: {"text": "\\"error\\""}\n\n', b'[{"text": "\\"error\\""}'),
        (b"\r\n", b""),
    ],
)
def test_events(raw, out):
    assert ArrayFraming().event(raw) == out
