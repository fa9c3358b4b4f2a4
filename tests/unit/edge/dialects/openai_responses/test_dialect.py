"""What is common to the dialects that OpenAI's clients speak."""

from __future__ import annotations

import json

import pytest

from penstock_edge import errors
from penstock_edge.dialects.anthropic import DIALECT as ANOTHER
from penstock_edge.dialects.openai_responses import DIALECT
from penstock_edge.errors import Problem, invalid
from tests.unit.edge.dialects.openai_responses.conversations import encoded

HEAD = DIALECT.head(encoded())


def test_what_it_is():
    assert (DIALECT.name, DIALECT.wire) == ("openai_responses", "responses")
    assert not DIALECT.hides_usage(HEAD)
    assert DIALECT.ping(HEAD) == b": keep-alive\n\n"
    assert (b"content-type", b"text/event-stream; charset=utf-8") in DIALECT.stream_headers(HEAD)


def test_errors():
    assert json.loads(DIALECT.error_body(invalid("input.0.role: field required"), "req_1")) == {
        "error": {
            "message": "input.0.role: field required",
            "type": "invalid_request_error",
            "param": "input.0.role",
            "code": None,
        }
    }
    assert DIALECT.error_status(Problem(529, errors.OVERLOADED, "x")) == 503
    assert (b"x-should-retry", b"false") in DIALECT.error_headers(invalid("x"))
    assert DIALECT.limit_headers([], 0.0) == []


def test_the_head_of_another_dialect_is_a_mistake():
    other = ANOTHER.head(b'{"model":"m","max_tokens":1,"messages":[]}')
    with pytest.raises(TypeError):
        DIALECT.read(other, b"{}", None)
