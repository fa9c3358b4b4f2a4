"""Unary answers: read for the books, or into the canonical form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from penstock_edge import canonical, signatures
from penstock_edge.canonical import UnreadableError
from penstock_edge.providers.gemini.call_ids import CallIds
from penstock_edge.providers.gemini.response import (
    PROVIDER,
    UNREADABLE,
    UsageMetadata,
    decode,
    explanation,
    stop_reason,
)
from penstock_edge.providers.odd_json import mended
from penstock_edge.usage_report import UsageReport

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.providers.gemini.response import Part, Response
    from penstock_edge.usage import UsageMeter


class _Billed(msgspec.Struct):
    usage: UsageMetadata | None = msgspec.field(default=None, name="usageMetadata")
    error: msgspec.Raw = msgspec.Raw()


class _Count(msgspec.Struct):
    total: int = msgspec.field(name="totalTokens", default=0)
    error: msgspec.Raw = msgspec.Raw()


_billed = msgspec.json.Decoder(_Billed)
_count = msgspec.json.Decoder(_Count)
_arguments = msgspec.json.Decoder(dict)


def read_answer(body: bytes, meter: UsageMeter) -> bool:
    """Take over the usage of a unary answer; False when the body is no JSON object that could be one."""
    try:
        answer = _billed.decode(body)
    except UNREADABLE:
        plain = mended(body)
        return read_answer(plain, meter) if plain else False
    if bytes(answer.error) not in {b"", b"null"}:
        return False
    if answer.usage is not None:
        meter.merge(answer.usage.report())
        meter.final = True
    return True


def parse_count(body: bytes) -> int:
    """Read a token count, which is left out when it is 0. Raises UnreadableError."""
    try:
        count = _count.decode(body)
    except UNREADABLE:
        raise UnreadableError from None
    if bytes(count.error) not in {b"", b"null"} or count.total < 0:
        raise UnreadableError
    return count.total


def parse(body: bytes) -> canonical.Message:
    """Read a unary answer. Raises UnreadableError."""
    try:
        response = decode(body)
        return _message(response, body)
    except UNREADABLE:
        if plain := mended(body):
            return parse(plain)
        raise UnreadableError from None


def _message(response: Response, body: bytes) -> canonical.Message:
    candidate, block = response.first(), response.block
    if response.failed or (candidate is None and block is None):
        raise UnreadableError
    content: list[Json] = []
    ids = CallIds(response.id, body)
    parts = (candidate.content.parts or []) if candidate is not None and candidate.content is not None else []
    for part in parts:
        _add(part, content, ids)
    finish, words = block or ("STOP", None)
    if candidate is not None:
        if candidate.finish is None and not content:
            raise UnreadableError
        finish, words = candidate.finish or "STOP", candidate.words
    return canonical.Message(
        id=response.id or "",
        model=response.model or "",
        content=content,
        stop_reason=stop_reason(finish, called=any(b["type"] == "tool_use" for b in content)),
        usage=UsageReport() if response.usage is None else response.usage.report(),
        explanation=explanation(finish, words),
    )


def _add(part: Part, content: list[Json], ids: CallIds) -> None:
    if part.thought:
        if part.text or part.signature:
            content.append(_thinking(part.text or "", part.signature))
        return
    if part.signature:
        content.append(_thinking("", part.signature))
    if part.text:
        if content and content[-1]["type"] == "text":
            content[-1]["text"] += part.text
        else:
            content.append({"type": "text", "text": part.text})
    image = part.image
    if image is not None:
        content.append(image)
    if part.call is not None:
        arguments = _arguments.decode(part.call.arguments())
        content.append({"type": "tool_use", "id": ids.take(part.call.id), "name": part.call.name, "input": arguments})


def _thinking(text: str, signature: str | None) -> Json:
    """Return a thinking block. One that Google did not sign is still its own, and says so."""
    return {"type": "thinking", "thinking": text, "signature": signatures.tag(signature or "", PROVIDER)}
