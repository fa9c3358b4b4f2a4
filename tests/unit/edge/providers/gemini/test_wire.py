"""The way to a Gemini account: path, query, head."""

from __future__ import annotations

import pytest

from penstock_edge.providers.gemini import WIRE
from penstock_edge.upstream import parse_target


@pytest.mark.parametrize(
    ("model", "streamed", "counting", "path"),
    [
        ("gemini-2.5-flash", False, False, b"/v1beta/models/gemini-2.5-flash:generateContent"),
        ("gemini-2.5-flash", True, False, b"/v1beta/models/gemini-2.5-flash:streamGenerateContent"),
        ("gemini-2.5-flash", False, True, b"/v1beta/models/gemini-2.5-flash:countTokens"),
        ("models/gemini-x", False, False, b"/v1beta/models/gemini-x:generateContent"),
        ("tunedModels/mine", False, False, b"/v1beta/tunedModels/mine:generateContent"),
        ("a b?c#d:e\r\n", False, False, b"/v1beta/models/a%20b%3Fc%23d%3Ae%0D%0A:generateContent"),
    ],
)
def test_paths(model, streamed, counting, path):
    assert WIRE.path(model, streamed=streamed, counting=counting) == path


@pytest.mark.parametrize("client", [b"", b"key=secret&alt=json", b"alt=sse&key=secret", b"beta=true"])
def test_nothing_of_the_clients_query_passes(client):
    assert WIRE.query(client, streamed=True) == b"alt=sse"
    assert WIRE.query(client, streamed=False) == b""


def test_the_request_head():
    target = parse_target("https://g.example.com/base/", allow_private=False)
    client = [(b"x-goog-api-key", b"client"), (b"x-goog-api-client", b"sdk"), (b"cookie", b"c")]
    lines = WIRE.head(target, b"/v1beta/models/m:x", b"alt=sse", b"AIza", client, "req_1", 7).split(b"\r\n")
    assert lines == [
        b"POST /base/v1beta/models/m:x?alt=sse HTTP/1.1",
        b"host: g.example.com",
        b"accept-encoding: identity",
        b"content-type: application/json",
        b"user-agent: penstock",
        b"x-goog-api-key: AIza",
        b"x-request-id: req_1",
        b"content-length: 7",
        b"",
        b"",
    ]
    assert b"?" not in WIRE.head(target, b"/p", b"", b"AIza", [], "req_1", 7)


def test_what_it_is():
    assert (WIRE.name, WIRE.request_id_header) == ("generate", b"x-goog-request-id")
    assert WIRE.hints([(b"x-ratelimit-remaining-requests", b"1")]) is None
