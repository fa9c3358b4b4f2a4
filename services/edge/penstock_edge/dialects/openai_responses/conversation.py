"""One Responses request, understood, and how its answer is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from penstock_edge.dialects.call_ids import CallIds
from penstock_edge.dialects.openai_responses import items
from penstock_edge.dialects.openai_responses.envelope import Envelope
from penstock_edge.dialects.openai_responses.request import RequestReader
from penstock_edge.dialects.openai_responses.writer import ResponsesWriter
from penstock_edge.dialects.unreadable import unreadable

if TYPE_CHECKING:
    from penstock_edge.canonical import Json, Message
    from penstock_edge.dialects.dialect import Birth
    from penstock_edge.dialects.openai_responses.head import ResponsesHead
    from penstock_edge.dialects.openai_responses.tool_book import ToolBook

_encode = msgspec.json.Encoder().encode


class ResponsesConversation:
    """One request and its answer."""

    def __init__(self, head: ResponsesHead, body: bytes, birth: Birth) -> None:
        try:
            reader = RequestReader(body)
            self.request = reader.read()
            self._envelope = Envelope(birth.request_id, birth.created, head.model, reader.document, head.tools)
        except RecursionError as error:
            raise unreadable(error) from None
        self._book = reader.book

    def answer(self, message: Message) -> bytes:
        """Return the body of a unary answer."""
        output = _output(message, self._envelope.ids, self._book, self._call_ids())
        shortfall = items.shortfall(message.stop_reason, empty=not message.content)
        return self._envelope.close(
            items.INCOMPLETE if shortfall else items.COMPLETED,
            [_encode(item) for item in output],
            usage=items.usage(message.usage),
            shortfall=shortfall,
        )

    def writer(self) -> ResponsesWriter:
        """Return a writer for one attempt's stream."""
        return ResponsesWriter(self._envelope, self._book, self._call_ids())

    def counted(self, tokens: int) -> bytes:
        """Return the body of a token count."""
        return _encode({"object": "response.input_tokens", "input_tokens": tokens})

    def _call_ids(self) -> CallIds:
        return CallIds(self.request.body["messages"])


def _output(answer: Message, ids: items.Ids, book: ToolBook, call_ids: CallIds) -> list[Json]:
    """Return the output items. Texts that follow each other are parts of one message."""
    output: list[Json] = []
    for block in answer.content:
        index = len(output)
        match block["type"]:
            case "text":
                _say(output, items.text_part(block["text"]), ids)
            case "thinking":
                thinking, signature = block.get("thinking") or "", block.get("signature") or ""
                output.append(items.reasoning(ids.item("rs", index), thinking, signature))
            case "tool_use":
                tool = book.tool(block["name"])
                item_id = ids.item(items.call_prefix(tool), index)
                arguments = _encode(block["input"]).decode()
                call_id = call_ids.renamed(block)["id"]
                output.append(items.call(tool, item_id, call_id, arguments, items.COMPLETED))
            case "image":
                output.append(items.image(ids.item("ig", index), block, items.COMPLETED))
            case _:
                continue
    silent = not answer.content
    if answer.stop_reason == "refusal" and (silent or answer.explanation):
        _say(output, items.refusal_part(answer.explanation or items.REFUSAL), ids)
    if output and items.shortfall(answer.stop_reason, empty=silent) and "status" in output[-1]:
        output[-1]["status"] = items.INCOMPLETE
    return output


def _say(output: list[Json], part: Json, ids: items.Ids) -> None:
    """Add a part to the message at the end, or in one of its own."""
    if output and output[-1]["type"] == "message":
        output[-1]["content"].append(part)
    else:
        output.append(items.message(ids.item("msg", len(output)), [part], items.COMPLETED))
