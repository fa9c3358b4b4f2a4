"""An answer as Google's wire shows it: one JSON body, or the same in pieces, as events or as one JSON list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator import drawing, text
from penstock_simulator.answer import Event
from penstock_simulator.gemini.messages import HARMS
from penstock_simulator.records import Usage

if TYPE_CHECKING:
    from collections import Counter

    from penstock_simulator.behaviour import Behaviour
    from penstock_simulator.gemini.message import Message, Part

JSON = "application/json; charset=UTF-8"
Pieces = Iterator[tuple[dict[str, Any], Event]]
# Google escapes what could hurt within HTML.
_ESCAPED = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"), (b"=", b"\\u003d"), (b"'", b"\\u0027"))
_FINISH_WORDS = "The simulator was asked to end so."
_UNSAFE = {"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST"}


class Told:
    """The input side of one answer, and what is told of the whole."""

    def __init__(self, message: Message, modalities: Counter[str], cached: int, *, silent: bool = False) -> None:
        self._message = message
        self._modalities = modalities
        self._whole = modalities.total()
        self._cached = cached
        self._silent = silent

    def usage(self, candidates: int, thoughts: int) -> Usage | None:
        """Return the same in the record's form; None when nothing is told."""
        return None if self._silent else Usage(self._whole - self._cached, candidates + thoughts, self._cached)

    def metadata(self, candidates: int, thoughts: int, *, short: bool = False) -> dict[str, Any]:
        """Return usageMetadata; numbers that are zero are absent, as with Google. `short`: output only."""
        result: dict[str, Any] = {} if short else {"promptTokenCount": self._whole}
        if candidates:
            result["candidatesTokenCount"] = candidates
        result["totalTokenCount"] = self._whole + candidates + thoughts
        if self._cached and not short:
            result["cachedContentTokenCount"] = self._cached
        if not short:
            result["promptTokensDetails"] = details(self._modalities)
        if thoughts:
            result["thoughtsTokenCount"] = thoughts
        return result

    def element(self, candidate: dict[str, Any] | None, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return one answer, whole or a piece."""
        result: dict[str, Any] = {} if candidate is None else {"candidates": [candidate]}
        if self._message.blocked:
            result["promptFeedback"] = {"blockReason": self._message.blocked}
        if not self._silent:
            result["usageMetadata"] = metadata
        return result | {"modelVersion": self._message.model, "responseId": self._message.id}


def details(modalities: Counter[str]) -> list[dict[str, Any]]:
    """Return tokens by modality."""
    return [{"modality": name, "tokenCount": count} for name, count in modalities.items()]


def encoded(value: Any, *, pretty: bool) -> bytes:
    """Return JSON as Google writes it."""
    data = msgspec.json.encode(value)
    if pretty:
        data = msgspec.json.format(data, indent=2)
    for plain, escaped in _ESCAPED:
        data = data.replace(plain, escaped)
    return data


def unary(message: Message, told: Told) -> bytes:
    """Return the body of a unary answer."""
    metadata = told.metadata(message.candidates_tokens, message.thoughts_tokens)
    if message.blocked:
        return encoded(told.element(None, metadata), pretty=True) + b"\n"
    parts = [_part(part, part.text) for part in message.parts]
    if message.closing_signature and parts:
        parts[-1]["thoughtSignature"] = message.closing_signature
    return encoded(told.element(_candidate(parts, message, last=True), metadata), pretty=True) + b"\n"


def _part(part: Part, piece: str) -> dict[str, Any]:
    signed = {"thoughtSignature": part.signature} if part.signature else {}
    if part.kind == "image":
        return {"inlineData": {"mimeType": drawing.MEDIA_TYPE, "data": part.text}} | signed
    if part.kind != "call":
        return {"text": piece, "thought": True} if part.kind == "thought" else {"text": piece}
    call: dict[str, Any] = {"id": part.id} if part.id else {}
    call |= {"name": part.name, "args": msgspec.Raw(part.text.encode())}
    return {"functionCall": call} | signed


def _candidate(parts: list[dict[str, Any]], message: Message, *, last: bool) -> dict[str, Any]:
    """Return a candidate; what ends badly has no content in its end."""
    content: dict[str, Any] = {"parts": parts} if parts else {}
    result: dict[str, Any] = {"content": content | {"role": "model"}}
    if not last:
        return result | {"index": 0}
    if not message.orderly:
        result = {"content": {}, "finishMessage": _FINISH_WORDS}
    result |= {"finishReason": message.finish_reason, "index": 0}
    if message.finish_reason in _UNSAFE:
        result["safetyRatings"] = [{"category": HARMS[0], "probability": "HIGH", "blocked": True}]
        result["safetyRatings"] += [{"category": name, "probability": "NEGLIGIBLE"} for name in HARMS[1:4]]
    return result


def pieces(message: Message, told: Told, how: Behaviour) -> Pieces:
    """Yield the elements of a streamed answer, each with the event that it is; `data` is still to be written."""
    if message.blocked:
        yield told.element(None, told.metadata(0, 0)), Event(b"", usage=told.usage(0, 0), phase=2)
        return
    for _ in range(how.pings):
        yield told.element(None, told.metadata(0, 0)), Event(b"", usage=told.usage(0, 0), phase=0, paced=True)
    sent = {"thought": 0, "said": 0}
    updates = max(0, how.usage_updates)
    # Thoughts that are not shown have been thought before the first piece.
    hidden = message.thoughts_tokens if not any(part.kind == "thought" for part in message.parts) else 0
    for part in message.parts:
        if part.kind == "image":
            # It comes whole, and late.
            tokens = message.candidates_tokens, message.thoughts_tokens
            element = told.element(_candidate([_part(part, "")], message, last=False), told.metadata(*tokens))
            yield element, Event(b"", usage=told.usage(*tokens), paced=True)
            continue
        for piece in text.pieces(part.text, part.chunks) if part.kind != "call" else [part.text]:
            sent["thought" if part.kind == "thought" else "said"] += len(piece)
            tokens = text.tokens(sent["said"]), hidden or text.tokens(sent["thought"])
            element = told.element(_candidate([_part(part, piece)], message, last=False), told.metadata(*tokens))
            yield element, Event(b"", chars=len(piece), usage=told.usage(*tokens), paced=True)
            if updates:
                updates -= 1
                yield told.element(None, told.metadata(*tokens)), Event(b"", usage=told.usage(*tokens))
    yield _closing(message, told, how)


def _closing(message: Message, told: Told, how: Behaviour) -> tuple[dict[str, Any], Event]:
    tokens = message.candidates_tokens, message.thoughts_tokens
    last: dict[str, Any] = {"text": ""}
    if message.closing_signature:
        last["thoughtSignature"] = message.closing_signature
    said_nothing = not any(part.kind != "thought" for part in message.parts)
    candidate = _candidate([] if said_nothing else [last], message, last=True)
    metadata = told.metadata(*tokens, short=how.usage == "output")
    return told.element(candidate, metadata), Event(b"", usage=told.usage(*tokens), phase=2)


class EventStream:
    """`alt=sse`: every piece an event without a name, and nothing after the last."""

    media_type = "text/event-stream"

    def write(self, found: Pieces) -> Iterator[Event]:
        """Yield the events with their bytes."""
        for element, event in found:
            event.data = b"data: " + encoded(element, pretty=False) + b"\r\n\r\n"
            yield event

    def error(self, element: dict[str, Any]) -> bytes:
        """Return an error as an event."""
        return b"data: " + encoded(element, pretty=False) + b"\r\n\r\n"


class ListStream:
    """Without `alt=sse`: every piece an element of one JSON list."""

    media_type = JSON

    def __init__(self, ends_early_after: int = -1) -> None:
        self._ends_early_after = ends_early_after
        self._begun = False

    def write(self, found: Pieces) -> Iterator[Event]:
        """Yield the elements with their bytes. One that is to end early closes the list before it does."""
        deltas = 0
        for element, event in found:
            if self._ends_before(event, deltas):
                yield Event(b"]" if self._begun else b"[]", phase=0)
            deltas += bool(event.chars)
            event.data = self._separator() + encoded(element, pretty=True) + (b"]" if event.phase == 2 else b"")
            yield event
            self._begun = True

    def _ends_before(self, event: Event, deltas: int) -> bool:
        """Whether delivery will end the body before this event."""
        after = self._ends_early_after
        if after < 0 or event.phase == 0:
            return False
        return event.phase == 2 or (deltas >= after and (event.chars > 0 or not after))

    def error(self, element: dict[str, Any]) -> bytes:
        """Return an error as the last element."""
        return self._separator() + encoded(element, pretty=True) + b"]"

    def _separator(self) -> bytes:
        return b",\r\n" if self._begun else b"["
