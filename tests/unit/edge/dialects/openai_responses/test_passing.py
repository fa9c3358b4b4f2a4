"""How a stream of OpenAI's ends for the client when it breaks off: as the answer that has begun."""

from __future__ import annotations

import json

import pytest

from penstock_edge import errors
from penstock_edge.dialects.openai_responses import DIALECT
from penstock_edge.errors import Problem
from penstock_edge.passage import NativeFollower
from penstock_edge.providers.openai_responses import WIRE
from penstock_edge.sse import EventSplitter
from penstock_edge.usage import UsageMeter
from tests.unit.edge.dialects.openai_responses.conversations import encoded
from tests.unit.edge.providers.openai_responses.streams import CREATED, PROGRESS, added, delta, message, sse

BROKEN = Problem(502, errors.API, "broken")
REQUEST_ID = "req_" + "0" * 32
# What nobody here knows comes back as it came.
ASKED = {"temperature": 0.30000000000000004, "store": True, "future": {"big": 10**30}}
BEGUN = CREATED | {"response": CREATED["response"] | ASKED}


def ended(data):
    """The events that end a stream of which so much has passed."""
    follower = NativeFollower(DIALECT, WIRE.sniffer(UsageMeter()), DIALECT.head(encoded()), REQUEST_ID)
    for raw in EventSplitter().feed(data):
        _, out = follower.take(raw)
        assert out == raw
    lines = follower.fail(BROKEN).decode().split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


@pytest.mark.parametrize("comment", [b"", b": keep-alive\n\n", b"\n\n"])
def test_the_end_is_of_the_same_answer(comment):
    passed = sse(BEGUN, PROGRESS, added(0, message()), delta("output_text", 0, "Hel", content_index=0))
    error, failed = ended(comment + passed)
    assert (error["type"], error["sequence_number"], error["message"]) == ("error", 4, "broken")
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", 5)
    cause = {"code": "server_error", "message": "broken"}
    assert failed["response"] == BEGUN["response"] | {"status": "failed", "error": cause}


def test_a_beginning_that_strict_readers_refuse():
    odd = {"metadata": {"a": "\ud83d"}, "temperature": float("nan")}
    _, failed = ended(sse(BEGUN | {"response": BEGUN["response"] | odd}, PROGRESS))
    assert failed["response"]["id"] == BEGUN["response"]["id"]


@pytest.mark.parametrize("opening", [{"type": "response.created"}, {"type": "response.created", "response": 5}])
def test_an_answer_that_never_said_its_name(opening):
    error, failed = ended(sse(opening, added(0, message())))
    assert (error["sequence_number"], failed["sequence_number"]) == (2, 3)
    assert failed["response"]["id"] == "resp_" + "0" * 32
