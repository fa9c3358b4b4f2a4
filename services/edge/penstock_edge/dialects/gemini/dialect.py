"""The dialect as the gateway asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.dialects import openai_errors
from penstock_edge.dialects.gemini import errors
from penstock_edge.dialects.gemini.answer import PartsWriter, answer
from penstock_edge.dialects.gemini.framing import KEEP_ALIVE, ArrayFraming, SseFraming
from penstock_edge.dialects.gemini.head import GeminiHead, read_head
from penstock_edge.dialects.gemini.request import read_request
from penstock_edge.dialects.gemini.spelling import CAMEL
from penstock_edge.dialects.gemini.writer import GeminiWriter
from penstock_edge.dialects.unreadable import UNREADABLE
from penstock_edge.providers.splice import splice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.canonical import Json, Message
    from penstock_edge.dialects.dialect import Birth, Head, Headers
    from penstock_edge.errors import Problem
    from penstock_edge.limits import LimitState

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _sse(head: Head) -> bool:
    return not isinstance(head, GeminiHead) or head.sse


class GeminiConversation:
    """One request and its answer."""

    def __init__(self, head: Head, body: bytes, birth: Birth) -> None:
        understood = read_request(body, counting=isinstance(head, GeminiHead) and head.counting)
        self.request = understood.request
        self._names = understood.names
        self._thoughts = understood.thoughts
        self._sse = _sse(head)
        self._tail: Json = {"modelVersion": head.model, "responseId": birth.request_id.removeprefix("req_")}

    def answer(self, message: Message) -> bytes:
        """Return the body of a unary answer."""
        return answer(message, self._parts(), self._tail)

    def writer(self) -> GeminiWriter:
        """Return a writer for one attempt's stream."""
        return GeminiWriter(self._parts(), SseFraming() if self._sse else ArrayFraming(), self._tail)

    def counted(self, tokens: int) -> bytes:
        """Return the body of a token count."""
        return msgspec.json.encode({"totalTokens": tokens})

    def _parts(self) -> PartsWriter:
        return PartsWriter(self._names, thoughts=self._thoughts)


class GeminiDialect:
    """The Gemini API."""

    name = "gemini"
    wire = "generate"

    def head(self, body: bytes, model: str, *, streamed: bool, counting: bool, sse: bool) -> GeminiHead:
        """Read a request's head; model and method stood in its path. Raises ProblemError (400)."""
        return read_head(body, model, streamed=streamed, counting=counting, sse=sse)

    def forwarded(self, head: Head, body: bytes, upstream_model: str) -> bytes:
        """Return the body for a Gemini account: the model stands in the path, and only rarely in the body too."""
        if b'"model"' not in body:
            return body
        prefixed = upstream_model.startswith(("models/", "tunedModels/"))
        model = msgspec.json.encode(upstream_model if prefixed else f"models/{upstream_model}")
        try:
            return _renamed(body, model, nested=isinstance(head, GeminiHead) and head.counting)
        except UNREADABLE:
            return body

    def read(self, head: Head, body: bytes, birth: Birth) -> GeminiConversation:
        """Understand a request whole. Raises ProblemError (400)."""
        return GeminiConversation(head, body, birth)

    def ping(self, head: Head) -> bytes:
        """Return a keep-alive: an empty line, in either form of stream."""
        del head
        return KEEP_ALIVE

    def stream_headers(self, head: Head) -> Headers:
        """Return the headers of a streamed answer; a new list."""
        kind = (b"content-type", b"text/event-stream") if _sse(head) else errors.CONTENT_TYPE
        return [kind, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]

    def framing(self, head: Head) -> ArrayFraming | None:
        """Return how a stream from a Gemini account becomes an array; None for SSE."""
        return None if _sse(head) else ArrayFraming()

    def hides_usage(self, head: Head) -> bool:
        """Return False: whoever streams sees usage."""
        del head
        return False

    def error_status(self, problem: Problem) -> int:
        """Return the status that this dialect's clients understand."""
        return errors.error_status(problem)

    def error_headers(self, problem: Problem) -> Headers:
        """Return the headers of an error answer; a new list."""
        return errors.error_headers(problem)

    def error_body(self, problem: Problem, request_id: str) -> bytes:
        """Return the error envelope, which has no place for a request's id."""
        del request_id
        return errors.error_body(problem)

    def error_event(self, problem: Problem, request_id: str, head: Head) -> bytes:
        """Return what ends a stream of which nothing but keep-alives went out."""
        return SseFraming().fail(problem) if _sse(head) else ArrayFraming().fail(problem, request_id)

    def limit_headers(self, states: Iterable[LimitState], now: float) -> Headers:
        """Return the remaining limits as `x-ratelimit-*`: Google has no such headers, and these are widely known."""
        del now
        return openai_errors.limit_headers(states)


def _renamed(body: bytes, model: bytes, *, nested: bool) -> bytes:
    """Return a body with another model in it, where it has one."""
    found = _members.decode(body)
    values: dict[str, bytes] = {}
    if bytes(found.get("model", b"null")) != b"null":
        values["model"] = model
    for name, raw in found.items():
        if nested and CAMEL.get(name, name) == "generateContentRequest" and bytes(raw) != b"null":
            values[name] = _renamed(bytes(raw), model, nested=False)
    return splice(body, values) if values else body


DIALECT: Final = GeminiDialect()
