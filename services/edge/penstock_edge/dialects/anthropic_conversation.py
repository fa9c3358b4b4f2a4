"""A Messages request understood whole, for accounts that speak another format: to the canonical form it is no step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import canonical, signatures
from penstock_edge.canonical import Json, Request
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.anthropic_turns import sound_id

if TYPE_CHECKING:
    from penstock_edge.canonical import Event, Message
    from penstock_edge.dialects.dialect import Birth, Head
    from penstock_edge.errors import Problem
    from penstock_edge.usage import UsageReport

_CARRIED: Final = {
    "max_tokens": int,
    "messages": list,
    "metadata": dict,
    "output_config": dict,
    "stop_sequences": list,
    "system": (str, list),
    "temperature": (int, float),
    "thinking": dict,
    "tool_choice": dict,
    "tools": list,
    "top_k": int,
    "top_p": (int, float),
}
_BLOCKS: Final = frozenset({"text", "image", "document", "thinking", "tool_use", "tool_result"})
# Made by tools that the provider itself runs: their results mean nothing elsewhere.
_PROVIDERS_OWN: Final = frozenset({"server_tool_use", "redacted_thinking", "mcp_tool_use"})
_encode = msgspec.json.Encoder().encode


def read(body: bytes) -> Request:
    """Return the canonical request. Raises ProblemError (400) for what is wrong in itself or cannot be carried."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ProblemError(invalid("the request body is not valid JSON")) from None
    carried: Json = {}
    ignored: list[str] = []
    for name, value in document.items():
        if name in {"model", "stream"} or value is None:
            continue
        kind = _CARRIED.get(name)
        if kind is None:
            ignored.append(name)
        elif not isinstance(value, kind):  # type: ignore[arg-type]  # the table's values are types and tuples of them
            raise ProblemError(invalid(f"{name}: Input should be of another type"))
        else:
            carried[name] = value
    reader = _Reader(ignored)
    carried["messages"] = reader.messages(carried.get("messages") or [])
    if not carried["messages"]:
        raise ProblemError(invalid("messages: at least one message with content is required"))
    system = [*reader.texts("system", carried.pop("system", "")), *reader.system]
    if system:
        carried["system"] = system
    for index, tool in enumerate(carried.get("tools", ())):
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise ProblemError(invalid(f"tools.{index}.name: field required"))
    return Request(carried, ignored=ignored)


class _Reader:
    """Brings messages into canonical shape."""

    def __init__(self, ignored: list[str]) -> None:
        self._ignored = ignored
        self.system: list[Json] = []
        """What stood between the messages."""

    def messages(self, messages: list[Any]) -> list[Json]:
        turns: list[Json] = []
        for index, message in enumerate(messages):
            where = f"messages.{index}"
            if not isinstance(message, dict):
                raise ProblemError(invalid(f"{where}: Input should be a valid dictionary"))
            role = message.get("role")
            if role == "system":
                self.system += self.texts(f"{where}.content", message.get("content"))
                continue
            if role not in {"user", "assistant"}:
                raise ProblemError(invalid(f"{where}.role: Input should be 'user' or 'assistant'"))
            content = self._blocks(f"{where}.content", message.get("content"))
            if not content:
                continue
            if turns and turns[-1]["role"] == role:
                turns[-1]["content"] += content
            else:
                turns.append({"role": role, "content": content})
        for turn in turns:
            # Results of tools come first in their turn.
            if turn["role"] == "user":
                turn["content"].sort(key=lambda block: block["type"] != "tool_result")
        return turns

    def texts(self, where: str, content: Any) -> list[Json]:
        if isinstance(content, str):
            return [{"type": "text", "text": content}] if content else []
        blocks = self._blocks(where, content)
        if any(block["type"] != "text" for block in blocks):
            raise ProblemError(invalid(f"{where}: only text can be carried here"))
        return blocks

    def _blocks(self, where: str, content: Any) -> list[Json]:
        if isinstance(content, str):
            return [{"type": "text", "text": content}] if content else []
        if not isinstance(content, list):
            raise ProblemError(invalid(f"{where}: Input should be a valid list"))
        kept: list[Json] = []
        for index, block in enumerate(content):
            kind = block.get("type") if isinstance(block, dict) else None
            if not isinstance(kind, str):
                raise ProblemError(invalid(f"{where}.{index}.type: field required"))
            if kind in _BLOCKS:
                _check(f"{where}.{index}", kind, block)
                if kind != "text" or block["text"]:
                    kept.append(block)
            elif kind in _PROVIDERS_OWN or kind.endswith("_tool_result"):
                self._ignored.append(f"{where}.{index} ({kind[:64]})")
            else:
                raise ProblemError(invalid(f"{where}.{index}.type: {kind[:64]} blocks cannot be carried to this model"))
        return kept


_REQUIRED: Final = {
    "text": (("text", str),),
    "image": (("source", dict),),
    "document": (("source", dict),),
    "thinking": (("thinking", str),),
    "tool_use": (("id", str), ("name", str), ("input", dict)),
    "tool_result": (("tool_use_id", str),),
}


def _check(where: str, kind: str, block: Json) -> None:
    for name, wanted in _REQUIRED[kind]:
        if not isinstance(block.get(name), wanted):
            raise ProblemError(invalid(f"{where}.{name}: field required"))


class MessagesConversation:
    """One request and its answer."""

    def __init__(self, head: Head, body: bytes, birth: Birth) -> None:
        self.request = read(body)
        self._model = head.model
        self._birth = birth

    def answer(self, message: Message) -> bytes:
        """Return the body of a unary answer."""
        return _encode(
            {
                **_skeleton(self._model, self._birth),
                "content": [_own_way(block) for block in message.content],
                "stop_reason": message.stop_reason,
                "stop_sequence": message.stop_sequence,
                "usage": _whole(message.usage),
            }
        )

    def writer(self) -> Writer:
        """Return a writer for one stream."""
        return Writer(self._model, self._birth)

    def counted(self, tokens: int) -> bytes:
        """Return the body of a token count."""
        return _encode({"input_tokens": tokens})


def _skeleton(model: str, birth: Birth) -> Json:
    name = "msg_" + birth.request_id.removeprefix("req_")
    return {"id": name, "type": "message", "role": "assistant", "model": model}


def _own_way(block: Json) -> Json:
    """Return a block that Claude itself will not refuse, should the conversation go on with it."""
    if block["type"] == "tool_use":
        return {**block, "id": sound_id(block["id"])}
    if block["type"] == "thinking" and not block.get("signature"):
        return {**block, "signature": signatures.NOBODYS}
    return block


def _whole(usage: UsageReport) -> Json:
    """Return usage with the figures that SDKs require."""
    figures: Json = {
        "input_tokens": usage.input_tokens or 0,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens or 0,
        "cache_read_input_tokens": usage.cache_read_input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
    }
    details = usage.output_tokens_details
    if details is not None and details.thinking_tokens is not None:
        figures["output_tokens_details"] = {"thinking_tokens": details.thinking_tokens}
    return figures


_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def _event(kind: bytes, data: Json) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind, _encode(data))


class Writer:
    """Writes one stream: the canonical events are this format's own."""

    __slots__ = ("_birth", "_model", "_unsigned")

    def __init__(self, model: str, birth: Birth) -> None:
        self._model = model
        self._birth = birth
        self._unsigned = False
        """The open block is thinking, and nobody has signed it yet."""

    def write(self, event: Event) -> bytes:
        """Return the bytes of one event."""
        match event:
            case canonical.TextDelta():
                return self._delta(event.index, {"type": "text_delta", "text": event.text})
            case canonical.InputDelta():
                return self._delta(event.index, {"type": "input_json_delta", "partial_json": event.partial_json})
            case canonical.ThinkingDelta():
                return self._delta(event.index, {"type": "thinking_delta", "thinking": event.thinking})
            case canonical.SignatureDelta():
                self._unsigned = self._unsigned and not event.signature
                return self._sign(event.index, event.signature) if event.signature else b""
            case canonical.CitationDelta():
                return self._delta(event.index, {"type": "citations_delta", "citation": event.citation})
            case canonical.BlockStart():
                return self._begin(event.index, event.block)
            case canonical.BlockStop():
                stop = _event(b"content_block_stop", {"type": "content_block_stop", "index": event.index})
                return self._sign(event.index, signatures.NOBODYS) + stop if self._unsigned else stop
            case canonical.MessageStart():
                return self._start(event)
            case canonical.MessageDelta():
                return self._end(event)
            case canonical.MessageStop():
                return _STOP
            case _:
                return _PING

    def fail(self, problem: Problem) -> bytes:
        """Return the error event."""
        error = {"type": problem.kind, "message": problem.message}
        return _event(b"error", {"type": "error", "error": error, "request_id": self._birth.request_id})

    def _delta(self, index: int, delta: Json) -> bytes:
        return _event(b"content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})

    def _sign(self, index: int, signature: str) -> bytes:
        return self._delta(index, {"type": "signature_delta", "signature": signature})

    def _begin(self, index: int, block: Json) -> bytes:
        self._unsigned = block["type"] == "thinking" and not block.get("signature")
        if block["type"] == "tool_use":
            block = {**block, "id": sound_id(block["id"])}
        start = {"type": "content_block_start", "index": index, "content_block": block}
        return _event(b"content_block_start", start)

    def _start(self, event: canonical.MessageStart) -> bytes:
        message = {
            **_skeleton(self._model, self._birth),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _whole(event.usage),
        }
        return _event(b"message_start", {"type": "message_start", "message": message})

    def _end(self, event: canonical.MessageDelta) -> bytes:
        delta = {"stop_reason": event.stop_reason, "stop_sequence": event.stop_sequence}
        usage = msgspec.to_builtins(event.usage)
        usage.setdefault("output_tokens", 0)
        return _event(b"message_delta", {"type": "message_delta", "delta": delta, "usage": usage})
