"""An answer of Chat Completions as the wire shows it: one JSON body, or chunks in their order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator import text
from penstock_simulator.answer import Event
from penstock_simulator.openai import audio, logprobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock_simulator.behaviour import Behaviour
    from penstock_simulator.openai.asked import Asked
    from penstock_simulator.openai.reply import Reply, ToolCall
    from penstock_simulator.openai.usage import Counts

_encode = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"
_PING = b": ping\n\n"
_FINGERPRINT = "fp_simulated"
_PADDING = "0123456789abcdef"
# Deltas are padded to a multiple of this, so that their sizes tell less about them.
_PAD_TO = 16
_AUDIO_SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer, and how it is to be shown."""

    id: str
    created: int
    asked: Asked
    replies: list[Reply]
    counts: Counts

    # -- one body

    def unary(self, how: Behaviour) -> bytes:
        """Return the body."""
        body = self.envelope("chat.completion")
        body["choices"] = [self._choice(index, reply) for index, reply in enumerate(self.replies)]
        if how.usage != "none":
            body["usage"] = self.counts.chat()
        return _encode(body)

    def envelope(self, kind: str) -> dict[str, Any]:
        """Return what a body and every chunk begin with."""
        envelope: dict[str, Any] = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.asked.model.answers_as,
            "choices": [],
        }
        if not self.asked.model.free:
            envelope |= {"service_tier": "default", "system_fingerprint": _FINGERPRINT}
        return envelope

    def _choice(self, index: int, reply: Reply) -> dict[str, Any]:
        probabilities = self.probabilities(reply.text, reply.refusal)
        return {
            "index": index,
            "message": self._message(reply),
            "logprobs": probabilities,
            "finish_reason": finish_reason(reply),
        }

    def probabilities(self, said: str, refused: str) -> dict[str, Any] | None:
        """Return the log probabilities of a text or a refusal, if they are asked for."""
        top = self.asked.top_logprobs
        if top is None:
            return None
        return {
            "content": logprobs.of(said, top) if said else None,
            "refusal": logprobs.of(refused, top) if refused else None,
        }

    def _message(self, reply: Reply) -> dict[str, Any]:
        silent = bool(reply.calls or reply.refusal)
        message: dict[str, Any] = {"role": "assistant", "content": None if silent else reply.text}
        if self.asked.model.free and reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        calls = [_whole(call) for call in reply.calls if not call.tool.legacy]
        if calls:
            message["tool_calls"] = calls
        elif reply.calls:
            message["function_call"] = _function(reply.calls[0])
        message["refusal"] = reply.refusal or None
        if not self.asked.model.free:
            message["annotations"] = []
        form = self._audio_format()
        if form and not silent:
            message["content"] = None
            message["audio"] = self._audio_head() | {
                "data": audio.recording(reply.text, form),
                "transcript": reply.text,
            }
        return message

    def _audio_format(self) -> str:
        if "audio" not in (self.asked.document.get("modalities") or ()):
            return ""
        return str(self.asked.document["audio"]["format"])

    def _audio_head(self) -> dict[str, Any]:
        return {"id": self.id.replace("chatcmpl-", "audio_"), "expires_at": self.created + _AUDIO_SECONDS}

    # -- a stream

    def stream(self, how: Behaviour) -> Iterator[Event]:
        """Yield the chunks; choices take turns."""
        chunks = Chunks(self, how)
        for index, reply in enumerate(self.replies):
            silent = reply.calls or reply.refusal or self._audio_format()
            delta = {"role": "assistant", "content": None if silent else "", "refusal": None}
            yield chunks.event(index, delta, phase=0)
        for _ in range(how.pings):
            yield Event(_PING, phase=0, paced=True)
        turns = [list(self._deltas(reply, how)) for reply in self.replies]
        for turn in zip_longest(*turns):
            for index, said in enumerate(turn):
                if said is not None:
                    yield chunks.event(index, said[0], chars=said[1], said=said[2])
        for index, reply in enumerate(self.replies):
            last = index == len(self.replies) - 1
            yield chunks.finish(index, finish_reason(reply), last=last)
        yield from chunks.closing()

    def _deltas(self, reply: Reply, how: Behaviour) -> Iterator[tuple[dict[str, Any], int, str]]:
        """Yield (delta, characters in it, text whose probabilities it tells)."""
        if self.asked.model.free:
            for piece in text.pieces(reply.reasoning, text.piece_count(len(reply.reasoning))):
                yield {"reasoning_content": piece}, len(piece), ""
        for piece in text.pieces(reply.refusal, reply.chunks):
            yield {"refusal": piece}, len(piece), piece
        form = self._audio_format()
        if form and reply.text:
            yield from self._heard(reply, form)
        else:
            for piece in text.pieces(reply.text, reply.chunks):
                yield {"content": piece}, len(piece), piece
        if how.interleave:
            yield from _interleaved(reply.calls)
        else:
            for index, call in enumerate(reply.calls):
                yield _opening(index, call), 0, ""
                yield from _arguments(index, call)

    def _heard(self, reply: Reply, form: str) -> Iterator[tuple[dict[str, Any], int, str]]:
        identity = self._audio_head()["id"]
        for piece in text.pieces(reply.text, reply.chunks):
            yield {"audio": {"id": identity, "transcript": piece}}, len(piece), ""
            yield {"audio": {"id": identity, "data": audio.recording(piece, form)}}, 0, ""
        yield {"audio": self._audio_head()}, 0, ""


class Chunks:
    """Puts deltas into chunks, and tells usage where it is to be told."""

    def __init__(self, completion: Completion, how: Behaviour) -> None:
        self._completion = completion
        self._how = how
        self._envelope = completion.envelope("chat.completion.chunk")
        options = completion.asked.document.get("stream_options") or {}
        self._asked_usage = bool(options.get("include_usage")) and how.usage in {"full", "output"}
        self._padded = options.get("include_obfuscation") is not False and not completion.asked.model.free
        self._updates = max(0, how.usage_updates)
        self._sent = 0

    def event(self, index: int, delta: dict[str, Any], *, chars: int = 0, said: str = "", phase: int = 1) -> Event:
        """Return one delta of one choice."""
        completion = self._completion
        probabilities = None
        if said and completion.asked.top_logprobs is not None:
            refused = "refusal" in delta
            probabilities = completion.probabilities("" if refused else said, said if refused else "")
        choice = {"index": index, "delta": delta, "logprobs": probabilities, "finish_reason": None}
        self._sent += chars
        counts = None
        if chars and self._updates:
            self._updates -= 1
            counts = completion.counts._replace(output=text.tokens(self._sent), reasoning=0)
        event = self._chunk(choice, counts, chars if phase else None)
        event.chars, event.phase, event.paced = chars, phase, chars > 0
        return event

    def _chunk(self, choice: dict[str, Any] | None, counts: Counts | None, padded: int | None) -> Event:
        chunk = self._envelope | {"choices": [choice] if choice else []}
        if counts is not None:
            chunk["usage"] = counts.chat()
        elif self._asked_usage:
            chunk["usage"] = None
        if self._padded and padded is not None:
            chunk["obfuscation"] = _PADDING[: _PAD_TO - padded % _PAD_TO]
        return Event(b"data: " + _encode(chunk) + b"\n\n", usage=counts.told() if counts else None)

    def finish(self, index: int, reason: str, *, last: bool) -> Event:
        """Return the last chunk of one choice."""
        choice = {"index": index, "delta": {}, "logprobs": None, "finish_reason": reason}
        counts = self._completion.counts if last and self._how.usage == "last_choice" else None
        event = self._chunk(choice, counts, 0)
        event.phase = 2
        return event

    def closing(self) -> Iterator[Event]:
        """Yield what comes after all choices."""
        if self._asked_usage:
            event = self._chunk(None, self._completion.counts, 0)
            event.phase = 2
            yield event
        if self._how.done:
            yield Event(_DONE, phase=2)


def finish_reason(reply: Reply) -> str:
    """Return why it ends, as Chat Completions says it."""
    if reply.stop == "tool_calls" and reply.calls and reply.calls[0].tool.legacy:
        return "function_call"
    return reply.stop


def _function(call: ToolCall) -> dict[str, Any]:
    return {"name": call.tool.name, "arguments": call.source}


def _whole(call: ToolCall) -> dict[str, Any]:
    if call.tool.kind == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.tool.name, "input": call.source}}
    return {"id": call.id, "type": "function", "function": _function(call)}


def _opening(index: int, call: ToolCall) -> dict[str, Any]:
    if call.tool.legacy:
        return {"function_call": {"name": call.tool.name, "arguments": ""}}
    inner = {"name": call.tool.name, "input" if call.tool.kind == "custom" else "arguments": ""}
    kind = call.tool.kind
    return {"tool_calls": [{"index": index, "id": call.id, "type": kind, kind: inner}]}


def _arguments(index: int, call: ToolCall) -> Iterator[tuple[dict[str, Any], int, str]]:
    kind = call.tool.kind
    name = "input" if kind == "custom" else "arguments"
    for piece in text.pieces(call.source, call.chunks):
        if call.tool.legacy:
            yield {"function_call": {"arguments": piece}}, len(piece), ""
        else:
            yield {"tool_calls": [{"index": index, kind: {name: piece}}]}, len(piece), ""


def _interleaved(calls: list[ToolCall]) -> Iterator[tuple[dict[str, Any], int, str]]:
    """Open all calls first and let their arguments take turns, as some compatible servers do."""
    for index, call in enumerate(calls):
        yield _opening(index, call), 0, ""
    for turn in zip_longest(*[list(_arguments(index, call)) for index, call in enumerate(calls)]):
        yield from (delta for delta in turn if delta is not None)
