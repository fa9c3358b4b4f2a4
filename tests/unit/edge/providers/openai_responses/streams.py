"""Recorded streams of OpenAI."""

from __future__ import annotations

import json


def sse(*events) -> bytes:
    """Return a stream of events, numbered."""
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (event["type"].encode(), json.dumps(event | {"sequence_number": number}).encode())
        for number, event in enumerate(events)
    )


def added(index, item):
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index, item):
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(kind, index, text, **more):
    return {"type": f"response.{kind}.delta", "output_index": index, "item_id": f"i{index}", "delta": text} | more


def call(number, arguments=""):
    return {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": f"call_{number}",
        "name": "f",
        "arguments": arguments,
        "status": "in_progress",
    }


def message(*texts):
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": parts}


def reasoning(*texts, encrypted=None):
    parts = [{"type": "summary_text", "text": text} for text in texts]
    return {"type": "reasoning", "id": "rs_1", "summary": parts, "encrypted_content": encrypted}


RESPONSE = {"id": "resp_1", "object": "response", "model": "gpt", "status": "in_progress", "output": [], "usage": None}
CREATED = {"type": "response.created", "response": RESPONSE}
PROGRESS = {"type": "response.in_progress", "response": RESPONSE}
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 120,
}


def ended(kind="completed", **fields):
    return {"type": f"response.{kind}", "response": RESPONSE | {"status": kind, "usage": USAGE} | fields}


TEXT = sse(
    CREATED,
    PROGRESS,
    added(0, message()),
    {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": {"type": "output_text"}},
    delta("output_text", 0, "Hel", content_index=0, logprobs=[], obfuscation="x"),
    delta("output_text", 0, "lo", content_index=0),
    {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hello"},
    {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": {"type": "output_text"}},
    done(0, message("Hello")),
    ended(output=[message("Hello")]),
)
EVERYTHING = sse(
    CREATED,
    added(0, reasoning()),
    {"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 0, "part": {}},
    delta("reasoning_summary_text", 0, "a", summary_index=0),
    delta("reasoning_summary_text", 0, "b", summary_index=1),
    delta("reasoning_summary_text", 0, "c", summary_index=1),
    done(0, reasoning("a", "bc", encrypted="E")),
    added(1, message()),
    delta("output_text", 1, "x", content_index=0),
    delta("output_text", 1, "y\u2028", content_index=1),
    done(1, message("x", "y\u2028")),
    added(2, call(1)),
    delta("function_call_arguments", 2, '{"a"'),
    delta("function_call_arguments", 2, ":1}"),
    {"type": "response.function_call_arguments.done", "output_index": 2, "arguments": '{"a":1}'},
    done(2, call(1, '{"a":1}')),
    ended(),
)
