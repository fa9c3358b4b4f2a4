"""Writes a translated stream as the events of a Responses answer, in their exact order and numbered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge import canonical
from penstock_edge.dialects import openai_errors
from penstock_edge.dialects.openai_responses import items
from penstock_edge.dialects.openai_responses.open_items import OpenCall, OpenImage, OpenMessage, OpenReasoning
from penstock_edge.dialects.openai_responses.sequence import Sequence
from penstock_edge.usage_report import UsageReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.canonical import Event, Json, StopReason
    from penstock_edge.dialects.call_ids import CallIds
    from penstock_edge.dialects.openai_responses.envelope import Envelope
    from penstock_edge.dialects.openai_responses.tool_book import ToolBook
    from penstock_edge.errors import Problem

_encode = msgspec.json.Encoder().encode
_LIMITS: Final = frozenset({"rate_limit_exceeded", "insufficient_quota"})
_FIGURES: Final = UsageReport.__struct_fields__


class ResponsesWriter:
    """Writes one stream."""

    __slots__ = (
        "_block",
        "_book",
        "_call_ids",
        "_envelope",
        "_explanation",
        "_message",
        "_output",
        "_sequence",
        "_stop_reason",
        "_usage",
    )

    def __init__(self, envelope: Envelope, book: ToolBook, call_ids: CallIds) -> None:
        self._envelope = envelope
        self._book = book
        self._call_ids = call_ids
        self._sequence = Sequence()
        self._output: list[bytes] = []
        self._message: OpenMessage | None = None
        """Stays open behind its block: another text may follow, as its next part."""
        self._block: OpenMessage | OpenReasoning | OpenCall | OpenImage | None = None
        self._stop_reason: StopReason | None = None
        self._explanation = ""
        self._usage = UsageReport()

    def write(self, event: Event) -> bytes:
        """Return what goes out for an event."""
        block = self._block
        match event:
            case canonical.TextDelta():
                return block.text(event.text) if isinstance(block, OpenMessage) and event.text else b""
            case canonical.InputDelta():
                return block.input(event.partial_json) if isinstance(block, OpenCall) else b""
            case canonical.ThinkingDelta():
                return block.text(event.thinking) if isinstance(block, OpenReasoning) and event.thinking else b""
            case canonical.SignatureDelta():
                if isinstance(block, OpenReasoning):
                    block.signature = event.signature
                return b""
            case canonical.BlockStart():
                return self._begin(event.block)
            case canonical.BlockStop():
                return self._end()
            case canonical.MessageStart():
                self._merge(event.usage)
                return self._announce()
            case canonical.MessageDelta():
                self._stop_reason = event.stop_reason or self._stop_reason
                self._explanation = event.explanation or self._explanation
                self._merge(event.usage)
                return b""
            case canonical.MessageStop():
                return self._close()
            case canonical.Ping():
                return openai_errors.KEEP_ALIVE
            case _:
                return b""

    def fail(self, problem: Problem) -> bytes:
        """Return the error, and the answer's end as a failed one."""
        return failed(problem, self._sequence, self._failed)

    def _failed(self, cause: Json) -> bytes:
        return self._envelope.close("failed", self._output, error=cause)

    def _announce(self) -> bytes:
        response = b'"response":' + self._envelope.close(items.IN_PROGRESS, [])
        created = self._sequence.event(b"response.created", response)
        return created + self._sequence.event(b"response.in_progress", response)

    def _begin(self, block: Json) -> bytes:
        kind = block["type"]
        if kind == "text":
            return self._begin_text()
        if kind not in {"thinking", "tool_use", "image"}:
            # What a provider's own tools did is nothing that this format could tell.
            self._block = None
            return b""
        out = self._end_message(items.COMPLETED)
        index, ids = len(self._output), self._envelope.ids
        if kind == "thinking":
            self._block = OpenReasoning(self._sequence, index, ids.item("rs", index))
        elif kind == "image":
            self._block = OpenImage(self._sequence, index, ids.item("ig", index), block)
        else:
            tool = self._book.tool(block["name"])
            item_id = ids.item(items.call_prefix(tool), index)
            self._block = OpenCall(self._sequence, index, item_id, tool, self._call_ids.renamed(block)["id"])
        return out + self._block.begin()

    def _begin_text(self) -> bytes:
        out, message = self._talk()
        self._block = message
        return out + message.begin_text()

    def _refuse(self) -> bytes:
        out, message = self._talk()
        return out + message.refuse(self._explanation or items.REFUSAL)

    def _talk(self) -> tuple[bytes, OpenMessage]:
        """Return the open message, begun now if there is none, and what announces it."""
        out = b""
        if self._message is None:
            index = len(self._output)
            self._message = OpenMessage(self._sequence, index, self._envelope.ids.item("msg", index))
            out = self._message.begin()
        return out, self._message

    def _end(self) -> bytes:
        block, self._block = self._block, None
        if isinstance(block, OpenMessage):
            return block.end_text()
        if block is None:
            return b""
        out, item = block.end()
        self._output.append(item)
        return out

    def _end_message(self, status: str) -> bytes:
        message, self._message = self._message, None
        if message is None:
            return b""
        out, item = message.end(status)
        self._output.append(item)
        return out

    def _close(self) -> bytes:
        silent = not self._output and self._message is None
        shortfall = items.shortfall(self._stop_reason, empty=silent)
        out = self._refuse() if self._stop_reason == "refusal" and (silent or self._explanation) else b""
        status = items.INCOMPLETE if shortfall else items.COMPLETED
        out += self._end_message(status)
        response = self._envelope.close(status, self._output, usage=items.usage(self._usage), shortfall=shortfall)
        return out + self._sequence.event(b"response." + status.encode(), b'"response":' + response)

    def _merge(self, report: UsageReport) -> None:
        """Take over figures: they are cumulative, and absent ones keep."""
        for name in _FIGURES:
            value = getattr(report, name)
            if value is not None:
                setattr(self._usage, name, value)


def failed(problem: Problem, sequence: Sequence, response: Callable[[Json], bytes]) -> bytes:
    """Return an error event and then the answer's end as a failed one: clients look for either.

    `response(cause)` returns the failed answer as JSON.
    """
    fields = openai_errors.error_fields(problem)
    told = {"code": fields["code"] or fields["type"], "message": fields["message"], "param": fields["param"]}
    error = sequence.event(b"error", _encode(told)[1:-1])
    cause = {"code": _failure_code(problem, told["code"]), "message": fields["message"]}
    return error + sequence.event(b"response.failed", b'"response":' + response(cause))


def _failure_code(problem: Problem, code: str) -> str:
    """Return one of the few codes that a failed answer may have: clients decide by it whether to ask again."""
    if code in _LIMITS:
        return code
    return "invalid_prompt" if problem.status < 500 else "server_error"
