"""Reads what the dialect writes as the openai SDK does, strictly."""

from __future__ import annotations

import json
from typing import get_args

from openai.types import responses

from penstock_edge.sse import EventSplitter, data_of

CLASSES = {
    get_args(cls.model_fields["type"].annotation)[0]: cls
    for name, cls in vars(responses).items()
    if name.startswith("Response") and name.endswith("Event") and isinstance(cls, type) and "type" in cls.model_fields
}


def events(data: bytes) -> list[dict]:
    """Return the events of a stream, each valid for the SDK, named as it is and numbered in order."""
    found = []
    for raw in EventSplitter().feed(data):
        if raw.startswith(b":"):
            continue
        event = json.loads(data_of(raw))
        assert raw.split(b"\n", 1)[0] == b"event: " + event["type"].encode()
        CLASSES[event["type"]].model_validate(event)
        assert event["sequence_number"] == len(found)
        found.append(event)
    return found


def response(data: bytes | dict) -> responses.Response:
    """Return a whole answer, valid for the SDK."""
    return responses.Response.model_validate(json.loads(data) if isinstance(data, bytes) else data)
