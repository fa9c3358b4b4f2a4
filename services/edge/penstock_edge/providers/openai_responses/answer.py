"""Reads a unary Responses answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from penstock_edge.canonical import Message, UnreadableError
from penstock_edge.providers.odd_json import mended
from penstock_edge.providers.openai_responses.output import (
    UNREADABLE,
    Fault,
    Incomplete,
    Item,
    Usage,
    signature_of,
    stop_reason,
    thinking_of,
)

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.usage import UsageMeter


class _Status(msgspec.Struct):
    id: Any = None
    usage: Usage | None = None
    status: str | None = None
    error: Fault | None = None


class _Response(msgspec.Struct):
    output: list[Item]
    id: str = ""
    model: str = ""
    status: str | None = None
    incomplete_details: Incomplete | None = None
    usage: Usage | None = None


class _Count(msgspec.Struct):
    input_tokens: int


_status = msgspec.json.Decoder(_Status)
_response = msgspec.json.Decoder(_Response)
_count = msgspec.json.Decoder(_Count)
_arguments = msgspec.json.Decoder(dict)


def read_answer(body: bytes, meter: UsageMeter) -> bool:
    """Take over the usage of an answer that passes untouched; False when the body cannot be one."""
    try:
        answer = _status.decode(body)
    except UNREADABLE:
        plain = mended(body)
        return read_answer(plain, meter) if plain else False
    if answer.error is not None and (answer.status is None or answer.error.passing):
        return False
    if answer.usage is not None:
        meter.merge(answer.usage.report())
        meter.final = True
    if isinstance(answer.id, str):
        meter.answer_id = answer.id
    return True


def parse(body: bytes) -> Message:
    """Return the answer in canonical form. Raises UnreadableError."""
    try:
        answer = _response.decode(body)
    except UNREADABLE:
        if plain := mended(body):
            return parse(plain)
        raise UnreadableError from None
    if answer.status not in {None, "completed", "incomplete"}:
        raise UnreadableError
    content: list[Json] = []
    refused = called = False
    cut = answer.status == "incomplete"
    for item in answer.output:
        if item.type == "message":
            for part in item.content or ():
                refused = refused or part.type == "refusal"
                text = part.text or part.refusal
                if text:
                    content.append({"type": "text", "text": text})
        elif item.type == "function_call":
            called = True
            content.append(_call(item, cut=cut))
        elif item.type == "reasoning":
            thinking, signature = thinking_of(item), signature_of(item)
            if thinking or signature:
                content.append({"type": "thinking", "thinking": thinking, "signature": signature})
    incomplete = (answer.incomplete_details or Incomplete()) if cut else None
    return Message(
        id=answer.id,
        model=answer.model,
        content=content,
        stop_reason=stop_reason(incomplete, called=called, refused=refused),
        usage=(answer.usage or Usage()).report(),
    )


def parse_count(body: bytes) -> int:
    """Return the number of tokens. Raises UnreadableError."""
    try:
        return _count.decode(body).input_tokens
    except UNREADABLE:
        raise UnreadableError from None


def _call(item: Item, *, cut: bool) -> Json:
    """Return a tool call; of an answer that was `cut` off its arguments need not be whole."""
    try:
        given = _given(item.arguments or "{}")
    except UNREADABLE:
        if not cut:
            raise UnreadableError from None
        given = {}
    return {"type": "tool_use", "id": item.call_id or item.id or "", "name": item.name, "input": given}


def _given(arguments: str) -> Json:
    try:
        return _arguments.decode(arguments)
    except UNREADABLE:
        return _arguments.decode(mended(arguments.encode()))
