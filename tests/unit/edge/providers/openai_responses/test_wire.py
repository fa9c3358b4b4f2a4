"""What is common to every request to OpenAI's Responses endpoint."""

from __future__ import annotations

from penstock_edge.providers.openai_responses import WIRE
from penstock_edge.upstream import parse_target
from penstock_routing import outcomes


def test_where_it_goes():
    assert (WIRE.name, WIRE.request_id_header) == ("responses", b"x-request-id")
    assert WIRE.path("gpt", streamed=True, counting=False) == b"/responses"
    assert WIRE.path("gpt", streamed=False, counting=True) == b"/responses/input_tokens"
    assert WIRE.query(b"api-version=1", streamed=False) == b""


def test_the_head():
    target = parse_target("https://api.example.com/v1", allow_private=False)
    head = WIRE.head(target, b"/responses", b"", b"sk", [(b"cookie", b"c")], "req_1", 7)
    assert head.startswith(b"POST /v1/responses HTTP/1.1\r\nhost: api.example.com\r\n")
    assert b"\r\nauthorization: Bearer sk\r\n" in head
    assert b"cookie" not in head


def test_errors_and_hints():
    body = b'{"error":{"message":"x","type":"insufficient_quota","code":"insufficient_quota"}}'
    assert WIRE.of_status(429, [], body).cls == outcomes.QUOTA_EXHAUSTED
    assert WIRE.hints([(b"x-ratelimit-remaining-requests", b"5")]).requests_remaining == 5
    assert WIRE.hints([]) is None
