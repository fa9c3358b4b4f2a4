"""Embeddings only pass."""

from __future__ import annotations

import json

import pytest

from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.openai_embeddings import DIALECT
from penstock_edge.errors import ProblemError

BODY = b'{"model": "m", "input": ["a", {"model": 1}], "user": "u"}'


def test_the_head_and_what_passes():
    head = DIALECT.head(BODY)
    assert (head.model, head.stream, head.max_tokens, head.session, head.prefix) == ("m", False, 0, "u", ())
    assert DIALECT.forwarded(head, BODY, "m") is BODY
    assert DIALECT.forwarded(head, BODY, "x") == BODY.replace(b'"m"', b'"x"')
    assert not DIALECT.hides_usage(head)
    with pytest.raises(ProblemError, match="no embeddings"):
        DIALECT.read(head, BODY, Birth("req_1", 0))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"input": ""}, "model: field required"),
        ({"model": "m"}, "input: field required"),
        ({"model": "", "input": ""}, "model: String should have at least 1 character"),
    ],
)
def test_what_is_missing(body, message):
    with pytest.raises(ProblemError, match=message):
        DIALECT.head(json.dumps(body).encode())
