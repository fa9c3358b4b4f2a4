"""What the dialect's tests share: requests read, answers written."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.gemini import DIALECT
from penstock_edge.errors import ProblemError

BIRTH = Birth("req_" + "0af" * 10 + "12", 1_764_000_000)


def encoded(body):
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def head(body, *, model="claude-x", streamed=False, counting=False, sse=True):
    return DIALECT.head(encoded(body), model, streamed=streamed, counting=counting, sse=sse)


def conversation(body, **how):
    raw = encoded(body)
    return DIALECT.read(head(raw, **how), raw, BIRTH)


def asked(text="hi", **more):
    """A request with one text."""
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def refusal(body, **how):
    with pytest.raises(ProblemError) as error:
        conversation(body, **how)
    assert (error.value.problem.status, error.value.problem.kind) == (400, "invalid_request_error")
    return error.value.problem.message


@pytest.fixture
def gemini():
    return SimpleNamespace(
        head=head, conversation=conversation, asked=asked, refusal=refusal, birth=BIRTH, encoded=encoded
    )
