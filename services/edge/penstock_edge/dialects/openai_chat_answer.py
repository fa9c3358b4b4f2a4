"""Canonical answers and streams, written as chat.completions writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import canonical, images, signatures
from penstock_edge.dialects.openai_errors import DONE, KEEP_ALIVE, error_event
from penstock_edge.usage_report import UsageReport

if TYPE_CHECKING:
    from penstock_edge.canonical import Event, Json, Message
    from penstock_edge.dialects.dialect import Birth
    from penstock_edge.dialects.openai_chat_tools import Names
    from penstock_edge.errors import Problem

_encode = msgspec.json.Encoder().encode
_REFUSED: Final = "The model refused to answer this request."
_SELF_CONTAINED: Final = frozenset({"Gemini", "OpenAI"})
_FINISHES: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def finish_of(reason: str | None, *, legacy: bool) -> str:
    """Return the finish_reason of a stop reason."""
    if legacy and reason == "tool_use":
        return "function_call"
    return _FINISHES.get(reason or "end_turn", "stop")


def usage_of(usage: UsageReport) -> Json:
    """Return usage in whole figures: what was cached is part of the prompt, what was thought part of the completion."""
    read = usage.cache_read_input_tokens or 0
    written = usage.cache_creation_input_tokens or 0
    prompt = (usage.input_tokens or 0) + read + written
    completion = usage.output_tokens or 0
    details = usage.output_tokens_details
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": (details.thinking_tokens or 0) if details else 0},
    }


def travels(signature: str, *, silent: bool) -> bool:
    """Whether a thinking block's signature may go out with the call after it, to come back without what was thought.

    Gemini's and OpenAI's stand for themselves. Others sign the words, and are of use without them only where thinking
    was `silent`.
    """
    return bool(signature) and (silent or signatures.origin(signature) in _SELF_CONTAINED)


def _signed(signature: str) -> Json:
    return {"google": {"thought_signature": signature}}


def answer(message: Message, model: str, birth: Birth, names: Names, *, legacy: bool) -> bytes:
    """Return the body of a unary answer."""
    choice = {
        "index": 0,
        "message": _message(message, names, legacy=legacy),
        "logprobs": None,
        "finish_reason": finish_of(message.stop_reason, legacy=legacy),
    }
    return _encode(
        {
            "id": id_of(birth),
            "object": "chat.completion",
            "created": birth.created,
            "model": model,
            "choices": [choice],
            "usage": usage_of(message.usage),
        }
    )


def id_of(birth: Birth) -> str:
    """Return the answer's id."""
    return "chatcmpl-" + birth.request_id.removeprefix("req_")


def _message(message: Message, names: Names, *, legacy: bool) -> Json:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    made: list[Json] = []
    signature = ""
    for block in message.content:
        kind = block.get("type")
        if kind == "text":
            texts.append(block.get("text") or "")
            signature = ""
        elif kind == "thinking":
            thought = block.get("thinking") or ""
            thoughts.append(thought)
            if travels(block.get("signature") or "", silent=not thought):
                signature = block["signature"]
        elif kind == "tool_use":
            calls.append(_call(block, names, signature))
            signature = ""
        elif kind == "image":
            made.append(_image(block, len(made), signature))
            signature = ""
    text = "".join(texts)
    written: Json = {
        "role": "assistant",
        "content": text or None,
        "refusal": (message.explanation or _REFUSED) if message.stop_reason == "refusal" else None,
    }
    thought = "".join(thoughts)
    if thought:
        written["reasoning_content"] = thought
    if made:
        written["images"] = made
    if calls and legacy:
        written["function_call"] = calls[0]["function"]
    elif calls:
        written["tool_calls"] = calls
    return written


def _image(block: Json, place: int, signature: str) -> Json:
    entry = images.entry(images.url_of(block), place)
    return entry | {"extra_content": _signed(signature)} if signature else entry


def _call(block: Json, names: Names, signature: str) -> Json:
    arguments = _encode(block.get("input") or {}).decode()
    function = {"name": names.original(block["name"]), "arguments": arguments}
    call: Json = {"id": block["id"], "type": "function", "function": function}
    if signature:
        call["extra_content"] = _signed(signature)
    return call


class Writer:
    """Writes one stream of chunks."""

    __slots__ = (
        "_calls",
        "_count",
        "_explanation",
        "_finish",
        "_head",
        "_images",
        "_legacy",
        "_names",
        "_open",
        "_reason",
        "_said",
        "_signature",
        "_silent",
        "_tail",
        "_usage",
        "_wants_usage",
    )

    def __init__(self, model: str, birth: Birth, names: Names, *, legacy: bool, wants_usage: bool) -> None:
        fields = {"id": id_of(birth), "object": "chat.completion.chunk", "created": birth.created, "model": model}
        self._open = b"data: " + _encode(fields)[:-1] + b',"choices":['
        self._head = self._open + b'{"index":0,"delta":'
        usage = b',"usage":null' if wants_usage else b""
        self._tail = b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._finish = b',"logprobs":null,"finish_reason":"%s"}]' + usage + b"}\n\n"
        self._names = names
        self._legacy = legacy
        self._wants_usage = wants_usage
        self._usage = UsageReport()
        self._reason: str | None = None
        self._explanation = ""
        self._calls: dict[int, int] = {}
        """Which call a block is: calls are counted by themselves."""
        self._count = 0
        self._images = 0
        self._said = False
        """The open call has said something of its arguments."""
        self._signature = ""
        self._silent = True

    def write(self, event: Event) -> bytes:
        """Return the chunk of one event, b"" for none."""
        match event:
            case canonical.TextDelta():
                return self._chunk(b'{"content":' + _encode(event.text) + b"}")
            case canonical.InputDelta():
                return self._arguments(event.index, event.partial_json)
            case canonical.ThinkingDelta():
                self._silent = self._silent and not event.thinking
                return self._chunk(b'{"reasoning_content":' + _encode(event.thinking) + b"}")
            case canonical.BlockStart():
                return self._block(event.index, event.block)
            case canonical.BlockStop():
                return self._block_end(event.index)
            case canonical.SignatureDelta():
                if travels(event.signature, silent=self._silent):
                    self._signature = event.signature
                return b""
            case canonical.MessageStart():
                self._merge(event.usage)
                return self._chunk(b'{"role":"assistant","content":"","refusal":null}')
            case canonical.MessageDelta():
                self._merge(event.usage)
                self._reason = event.stop_reason or self._reason
                self._explanation = event.explanation or self._explanation
                return b""
            case canonical.MessageStop():
                return self._end()
            case canonical.Ping():
                return KEEP_ALIVE
            case _:
                return b""

    def fail(self, problem: Problem) -> bytes:
        """Return the chunk that says what went wrong; no proper end follows."""
        return error_event(problem)

    def _chunk(self, delta: bytes) -> bytes:
        return b"".join((self._head, delta, self._tail))

    def _block(self, index: int, block: Json) -> bytes:
        kind = block.get("type")
        if kind == "tool_use":
            return self._call(index, block)
        if kind == "thinking":
            self._silent = True
            return b""
        signature, self._signature = self._signature, ""
        if kind == "image":
            made = _image(block, self._images, signature)
            self._images += 1
            return self._chunk(_encode({"images": [made]}))
        text = block.get("text") if kind == "text" else None
        return self._chunk(b'{"content":' + _encode(text) + b"}") if text else b""

    def _call(self, index: int, block: Json) -> bytes:
        place = self._calls[index] = self._count
        self._count += 1
        whole = block.get("input")
        self._said = bool(whole)
        arguments = _encode(whole).decode() if whole else ""
        function = {"name": self._names.original(block["name"]), "arguments": arguments}
        signature, self._signature = self._signature, ""
        if self._legacy:
            return self._chunk(_encode({"function_call": function})) if place == 0 else b""
        call: Json = {"index": place, "id": block["id"], "type": "function", "function": function}
        if signature:
            call["extra_content"] = _signed(signature)
        return self._chunk(_encode({"tool_calls": [call]}))

    def _arguments(self, index: int, text: str) -> bytes:
        place = self._calls.get(index)
        if place is None or not text:
            return b""
        self._said = True
        if self._legacy:
            return self._chunk(b'{"function_call":{"arguments":' + _encode(text) + b"}}") if place == 0 else b""
        return self._chunk(b'{"tool_calls":[{"index":%d,"function":{"arguments":%s}}]}' % (place, _encode(text)))

    def _block_end(self, index: int) -> bytes:
        if index not in self._calls or self._said:
            return b""
        # Arguments are always JSON, also where there are none.
        return self._arguments(index, "{}")

    def _merge(self, report: UsageReport) -> None:
        known = self._usage
        for name in report.__struct_fields__:
            value: Any = getattr(report, name)
            if value is not None:
                setattr(known, name, value)

    def _end(self) -> bytes:
        delta = _encode({"refusal": self._explanation or _REFUSED}) if self._reason == "refusal" else b"{}"
        end = self._head + delta + self._finish % finish_of(self._reason, legacy=self._legacy).encode()
        if self._wants_usage:
            end += self._open + b'],"usage":' + _encode(usage_of(self._usage)) + b"}\n\n"
        return end + DONE
