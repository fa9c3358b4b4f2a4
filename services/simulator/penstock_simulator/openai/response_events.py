"""A response as a stream shows it: events in their order, numbered from 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator import text
from penstock_simulator.answer import Event
from penstock_simulator.openai import errors, logprobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock_simulator.behaviour import Behaviour
    from penstock_simulator.openai.response import Response

_encode = msgspec.json.Encoder().encode
_PING = b": ping\n\n"
_PADDING = "0123456789abcdef"
_PAD_TO = 16
# While reasoning goes on, what is there of its encryption is of no use to anybody.
_EARLY_SEAL_CHARS = 48


class ResponseStream:
    """The events of one response; knows how many it has given out."""

    def __init__(self, response: Response, how: Behaviour) -> None:
        self._response = response
        self._how = how
        self._next = 0
        options = response.asked.document.get("stream_options") or {}
        self._padded = options.get("include_obfuscation") is not False

    def _data(self, kind: str, fields: dict[str, Any]) -> bytes:
        data = {"type": kind, "sequence_number": self._next, **fields}
        self._next += 1
        return b"event: " + kind.encode() + b"\ndata: " + _encode(data) + b"\n\n"

    def _event(self, kind: str, *, phase: int = 1, **fields: Any) -> Event:
        return Event(self._data(kind, fields), phase=phase)

    def _delta(self, kind: str, piece: str, **fields: Any) -> Event:
        if self._padded:
            fields["obfuscation"] = _PADDING[: _PAD_TO - len(piece) % _PAD_TO]
        return Event(self._data(kind, {"delta": piece, **fields}), chars=len(piece), paced=True)

    def failure(self) -> bytes:
        """Return what is sent in place of the event that was given out last: `error`, then `response.failed`."""
        self._next -= 1
        error = errors.mid_stream(self._how.error, self._how.message)
        told = {"code": error["code"] or error["type"], "message": error["message"], "param": error["param"]}
        failed = self._response.shown("failed", error)
        return self._data("error", told) + self._data("response.failed", {"response": failed})

    def events(self) -> Iterator[Event]:
        """Yield all events."""
        response = self._response
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, phase=0, response=response.shown("in_progress"))
        for _ in range(self._how.pings):
            yield Event(_PING, phase=0, paced=True)
        for index, item in enumerate(response.output):
            yield from self._item(index, item)
        last = self._event(f"response.{response.status}", phase=2, response=response.shown(response.status))
        if response.tells_usage and response.status != "failed":
            last.usage = response.counts.told()
        yield last

    def _item(self, index: int, item: dict[str, Any]) -> Iterator[Event]:
        yield self._event("response.output_item.added", output_index=index, item=_begun(item))
        match item["type"]:
            case "reasoning":
                yield from self._reasoning(index, item)
            case "web_search_call":
                for state in ("in_progress", "searching", "completed"):
                    yield self._event(f"response.web_search_call.{state}", output_index=index, item_id=item["id"])
            case "message":
                yield from self._message(index, item)
            case "function_call":
                yield from self._call(index, item, "function_call_arguments", "arguments")
            case _:
                yield from self._call(index, item, "custom_tool_call_input", "input")
        yield self._event("response.output_item.done", output_index=index, item=item)

    def _reasoning(self, index: int, item: dict[str, Any]) -> Iterator[Event]:
        for number, part in enumerate(item["summary"]):
            at = {"item_id": item["id"], "output_index": index, "summary_index": number}
            empty = {"type": "summary_text", "text": ""}
            yield self._event("response.reasoning_summary_part.added", **at, part=empty)
            for piece in text.pieces(part["text"], text.piece_count(len(part["text"]))):
                yield self._delta("response.reasoning_summary_text.delta", piece, **at)
            yield self._event("response.reasoning_summary_text.done", **at, text=part["text"])
            yield self._event("response.reasoning_summary_part.done", **at, part=part)

    def _message(self, index: int, item: dict[str, Any]) -> Iterator[Event]:
        for number, part in enumerate(item["content"]):
            at = {"item_id": item["id"], "output_index": index, "content_index": number}
            kind = part["type"]
            name = "refusal" if kind == "refusal" else "text"
            empty = part | ({"refusal": ""} if kind == "refusal" else {"text": "", "logprobs": []})
            yield self._event("response.content_part.added", **at, part=empty)
            top = self._response.asked.top_logprobs
            for piece in text.pieces(part[name], self._response.reply.chunks):
                told = {} if kind == "refusal" else {"logprobs": logprobs.of(piece, top) if top is not None else []}
                yield self._delta(f"response.{kind}.delta", piece, **at, **told)
            done = {field: part[field] for field in (name, "logprobs") if field in part}
            yield self._event(f"response.{kind}.done", **at, **done)
            yield self._event("response.content_part.done", **at, part=part)

    def _call(self, index: int, item: dict[str, Any], kind: str, name: str) -> Iterator[Event]:
        at = {"item_id": item["id"], "output_index": index}
        (chunks,) = (call.chunks for call in self._response.reply.calls if call.id == item["call_id"])
        for piece in text.pieces(item[name], chunks):
            yield self._delta(f"response.{kind}.delta", piece, **at)
        yield self._event(f"response.{kind}.done", **at, **{name: item[name]})


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item as it is announced: without what is still to come."""
    match item["type"]:
        case "reasoning":
            sealed = item.get("encrypted_content")
            early = {} if sealed is None else {"encrypted_content": sealed[:_EARLY_SEAL_CHARS]}
            return item | {"summary": []} | early
        case "message":
            return item | {"status": "in_progress", "content": []}
        case "web_search_call":
            return {name: value for name, value in item.items() if name != "action"} | {"status": "in_progress"}
        case "function_call":
            return item | {"status": "in_progress", "arguments": ""}
    return item | {"status": "in_progress", "input": ""}
