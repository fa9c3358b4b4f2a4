"""Output items that are being streamed: each knows which events say what it is and what it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from penstock_edge.dialects.openai_responses import items
from penstock_edge.dialects.openai_responses.client_tools import CLIENT_TOOLS
from penstock_edge.dialects.openai_responses.partial_input import PartialInput, whole_input

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.dialects.openai_responses.sequence import Sequence
    from penstock_edge.dialects.openai_responses.tool_book import Tool

_encode = msgspec.json.Encoder().encode


class OpenMessage:
    """A message; its parts come one after the other."""

    __slots__ = ("_head", "_index", "_item_id", "_parts", "_place", "_sequence", "_texts")

    def __init__(self, sequence: Sequence, index: int, item_id: str) -> None:
        self._sequence = sequence
        self._index = index
        self._item_id = item_id
        self._parts: list[Json] = []
        self._texts: list[str] = []
        self._head = b'"item_id":"%s","output_index":%d,' % (item_id.encode(), index)
        self._place = b""

    def begin(self) -> bytes:
        """Return what announces the message."""
        return self._sequence.item(b"added", self._index, _encode(items.message(self._item_id, [], items.IN_PROGRESS)))

    def begin_text(self) -> bytes:
        """Return what announces a part of text."""
        return self._begin_part(items.text_part(""))

    def text(self, text: str) -> bytes:
        """Return more of that part."""
        self._texts.append(text)
        fields = b'%s,"delta":%s,"logprobs":[]' % (self._place, _encode(text))
        return self._sequence.event(b"response.output_text.delta", fields)

    def end_text(self) -> bytes:
        """Return what ends that part."""
        text = "".join(self._texts)
        fields = b'%s,"text":%s,"logprobs":[]' % (self._place, _encode(text))
        return self._sequence.event(b"response.output_text.done", fields) + self._end_part(items.text_part(text))

    def refuse(self, words: str) -> bytes:
        """Return a whole part that says that there is no answer."""
        begin = self._begin_part(items.refusal_part(""))
        told = _encode(words)
        delta = self._sequence.event(b"response.refusal.delta", b'%s,"delta":%s' % (self._place, told))
        done = self._sequence.event(b"response.refusal.done", b'%s,"refusal":%s' % (self._place, told))
        return begin + delta + done + self._end_part(items.refusal_part(words))

    def end(self, status: str) -> tuple[bytes, bytes]:
        """Return what ends the message, and the whole item."""
        item = _encode(items.message(self._item_id, self._parts, status))
        return self._sequence.item(b"done", self._index, item), item

    def _begin_part(self, part: Json) -> bytes:
        self._place = b'%s"content_index":%d' % (self._head, len(self._parts))
        self._texts = []
        return self._sequence.event(b"response.content_part.added", b'%s,"part":%s' % (self._place, _encode(part)))

    def _end_part(self, part: Json) -> bytes:
        self._parts.append(part)
        return self._sequence.event(b"response.content_part.done", b'%s,"part":%s' % (self._place, _encode(part)))


class OpenReasoning:
    """Reasoning; its text is one part of a summary, which begins with the first word."""

    __slots__ = ("_index", "_item_id", "_place", "_sequence", "_texts", "signature")

    def __init__(self, sequence: Sequence, index: int, item_id: str) -> None:
        self._sequence = sequence
        self._index = index
        self._item_id = item_id
        self._texts: list[str] = []
        self._place = b'"item_id":"%s","output_index":%d,"summary_index":0' % (item_id.encode(), index)
        self.signature = ""

    def begin(self) -> bytes:
        """Return what announces the item."""
        return self._sequence.item(b"added", self._index, _encode(items.reasoning(self._item_id, "", "")))

    def text(self, text: str) -> bytes:
        """Return more of the summary."""
        begin = b"" if self._texts else self._part(b"added", "")
        self._texts.append(text)
        fields = b'%s,"delta":%s' % (self._place, _encode(text))
        return begin + self._sequence.event(b"response.reasoning_summary_text.delta", fields)

    def end(self) -> tuple[bytes, bytes]:
        """Return what ends the item, and the whole item."""
        text = "".join(self._texts)
        out = b""
        if text:
            fields = b'%s,"text":%s' % (self._place, _encode(text))
            out = self._sequence.event(b"response.reasoning_summary_text.done", fields) + self._part(b"done", text)
        item = _encode(items.reasoning(self._item_id, text, self.signature))
        return out + self._sequence.item(b"done", self._index, item), item

    def _part(self, stage: bytes, text: str) -> bytes:
        fields = b'%s,"part":%s' % (self._place, _encode({"type": "summary_text", "text": text}))
        return self._sequence.event(b"response.reasoning_summary_part." + stage, fields)


class OpenImage:
    """An image, which comes whole."""

    __slots__ = ("_block", "_index", "_item_id", "_place", "_sequence")

    def __init__(self, sequence: Sequence, index: int, item_id: str, block: Json) -> None:
        self._sequence = sequence
        self._index = index
        self._item_id = item_id
        self._block = block
        self._place = b'"item_id":"%s","output_index":%d' % (item_id.encode(), index)

    def begin(self) -> bytes:
        """Return what announces the item."""
        item = _encode(items.image(self._item_id, None, items.IN_PROGRESS))
        return (
            self._sequence.item(b"added", self._index, item) + self._stage(b"in_progress") + self._stage(b"generating")
        )

    def end(self) -> tuple[bytes, bytes]:
        """Return what ends the item, and the whole item."""
        item = _encode(items.image(self._item_id, self._block, items.COMPLETED))
        return self._stage(b"completed") + self._sequence.item(b"done", self._index, item), item

    def _stage(self, stage: bytes) -> bytes:
        return self._sequence.event(b"response.image_generation_call." + stage, self._place)


class OpenCall:
    """A tool call."""

    __slots__ = ("_call_id", "_index", "_item_id", "_partial", "_place", "_sequence", "_texts", "_told", "_tool")

    def __init__(self, sequence: Sequence, index: int, item_id: str, tool: Tool, call_id: str) -> None:
        self._sequence = sequence
        self._index = index
        self._item_id = item_id
        self._tool = tool
        self._call_id = call_id
        self._texts: list[str] = []
        self._told = 0
        """Characters of a custom tool's text that have gone out."""
        self._partial = PartialInput()
        self._place = b'"item_id":"%s","output_index":%d' % (item_id.encode(), index)

    def begin(self) -> bytes:
        """Return what announces the call; one whose item holds its input waits for that."""
        return b"" if self._tool.kind in CLIENT_TOOLS else self._added("")

    def input(self, partial_json: str) -> bytes:
        """Return more of its input."""
        if not partial_json:
            return b""
        self._texts.append(partial_json)
        if self._tool.kind == "function":
            return self._delta(b"response.function_call_arguments.delta", partial_json)
        if self._tool.kind == "custom":
            text = self._partial.feed(partial_json)
            self._told += len(text)
            return self._delta(b"response.custom_tool_call_input.delta", text) if text else b""
        return b""

    def end(self) -> tuple[bytes, bytes]:
        """Return what ends the call, and the whole item."""
        arguments = "".join(self._texts)
        if self._tool.kind == "function":
            out = self._arguments_done(arguments)
            arguments = arguments or "{}"
        elif self._tool.kind == "custom":
            out = self._input_done(whole_input(arguments))
        else:
            out = self._added(arguments)
        item = _encode(items.call(self._tool, self._item_id, self._call_id, arguments, items.COMPLETED))
        return out + self._sequence.item(b"done", self._index, item), item

    def _added(self, arguments: str) -> bytes:
        item = items.call(self._tool, self._item_id, self._call_id, arguments, items.IN_PROGRESS)
        return self._sequence.item(b"added", self._index, _encode(item))

    def _arguments_done(self, arguments: str) -> bytes:
        out = b""
        if not arguments:
            arguments = "{}"
            out = self._delta(b"response.function_call_arguments.delta", arguments)
        fields = b'%s,"arguments":%s' % (self._place, _encode(arguments))
        return out + self._sequence.event(b"response.function_call_arguments.done", fields)

    def _input_done(self, text: str) -> bytes:
        rest = text[self._told :]
        out = self._delta(b"response.custom_tool_call_input.delta", rest) if rest else b""
        fields = b'%s,"input":%s' % (self._place, _encode(text))
        return out + self._sequence.event(b"response.custom_tool_call_input.done", fields)

    def _delta(self, kind: bytes, text: str) -> bytes:
        return self._sequence.event(kind, b'%s,"delta":%s' % (self._place, _encode(text)))
