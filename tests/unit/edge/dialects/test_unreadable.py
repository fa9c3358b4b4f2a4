"""What is said of a body that cannot be read, and what is not."""

from __future__ import annotations

import msgspec
import pytest

from penstock_edge.dialects.unreadable import UNREADABLE, unreadable, wrong, wrong_type


class Part(msgspec.Struct):
    role: str
    size: float = 0
    kind: msgspec.UnsetType | bool = False


class Body(msgspec.Struct):
    messages: list[Part]
    names: dict[str, int] = {}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{}", "messages: field required"),
        (b"[]", "body: Input should be a valid dictionary"),
        (b'{"messages":5}', "messages: Input should be a valid list"),
        (b'{"messages":[{"role":"a"},{}]}', "messages.1.role: field required"),
        (b'{"messages":[{"role":"a"},{"role":5}]}', "messages.1.role: Input should be a valid string"),
        (b'{"messages":[{"role":"a","size":"x"}]}', "messages.0.size: Input should be a valid number"),
        (b'{"messages":[],"names":{"secret":"x"}}', "names....: Input should be a valid integer"),
        (b'{"messages":[],"names":{"a":' + b"9" * 5000 + b"}}", "the request body has a field of a wrong type"),
        (b"{", "the request body is not valid JSON"),
        (b'{"messages":[{"role":"\xff"}]}', "the request body is not valid JSON"),
    ],
)
def test_words(raw, message):
    with pytest.raises(UNREADABLE) as error:
        msgspec.json.decode(raw, type=Body)
    problem = unreadable(error.value).problem
    assert (problem.status, problem.kind, problem.message) == (400, "invalid_request_error", message)


def test_too_deep():
    with pytest.raises(UNREADABLE) as error:
        msgspec.json.decode(b"[" * 99_999)
    assert unreadable(error.value).problem.message == "the request body is nested too deeply"


def test_single_fields():
    assert wrong("a.b", "no").problem.message == "a.b: no"
    assert wrong_type("a.b", "array").problem.message == "a.b: Input should be a valid list"
