"""Reads one stream of chat.completions into canonical events: blocks one after another, however they came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import canonical, signatures
from penstock_edge.canonical import UnreadableError
from penstock_edge.providers.failure import Failure
from penstock_edge.providers.odd_json import mended_event
from penstock_edge.providers.openai_chat_answer import (
    BROKEN_OFF,
    OWN_THINKING,
    PROVIDER,
    Function,
    call_id,
    images_of,
    reason_of,
    signature_of,
    stop_sequence_of,
    text_of,
)
from penstock_edge.providers.openai_chat_sniffer import DONE
from penstock_edge.providers.openai_chat_usage import UNREADABLE, report_of
from penstock_edge.providers.openai_failure import of_error_object
from penstock_edge.sse import data_of
from penstock_edge.usage_report import UsageReport
from penstock_routing import outcomes

if TYPE_CHECKING:
    from penstock_edge.canonical import Event

_NOTHING: Final = frozenset({b"", b"null"})


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None
    extra_content: Any = None


class _Delta(msgspec.Struct):
    content: Any = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_CallDelta] | None = None
    images: Any = None


class _Choice(msgspec.Struct):
    index: int | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None
    stop_reason: Any = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    object: str | None = None


_chunk = msgspec.json.Decoder(_Chunk)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Call:
    """One tool call on its way."""

    __slots__ = ("arguments", "begun", "id", "name", "over", "sent", "signature")

    def __init__(self, name: str | None) -> None:
        self.id = name
        self.name: str | None = None
        self.arguments: list[str] = []
        self.signature = ""
        self.sent = 0
        """How many pieces of the arguments have gone on."""
        self.begun = False
        self.over = False

    def whole(self) -> bool:
        """Whether the arguments are complete as they stand."""
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        try:
            _object.decode("".join(self.arguments))
        except UNREADABLE:
            return False
        return True

    def says_nothing(self) -> bool:
        """Whether the arguments are `null` as far as they go: some servers write that where there are none."""
        return not self.sent and "null".startswith("".join(self.arguments).strip())


class ChatParser:
    """Reads one stream."""

    __slots__ = (
        "_block",
        "_calls",
        "_events",
        "_finish",
        "_id",
        "_index",
        "_last",
        "_over",
        "_places",
        "_refused",
        "_started",
        "_stop",
        "_usage",
    )

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._started = False
        self._over = False
        self._id = ""
        self._index = -1
        """Of the newest block."""
        self._block = ""
        """What kind of block is open: text, thinking, call or none."""
        self._calls: list[_Call] = []
        """All calls in their order; of those that are not over, only the first is open."""
        self._places: dict[int, _Call] = {}
        """Calls by the index that the server gives them."""
        self._last: _Call | None = None
        self._finish: str | None = None
        self._stop: str | None = None
        self._refused = False
        self._usage = UsageReport()

    def feed(self, raw: bytes) -> list[Event]:
        """Read one whole event. Raises UnreadableError."""
        data = data_of(raw)
        if not data or self._over:
            return []
        if data == DONE:
            if not self._started:
                raise UnreadableError
            return self._closing()
        try:
            chunk = _chunk.decode(data)
        except UNREADABLE:
            if plain := mended_event(data):
                return self.feed(plain)
            raise UnreadableError from None
        if bytes(chunk.error) not in _NOTHING:
            return self._failed(of_error_object(bytes(chunk.error)))
        if chunk.object == "error":
            return self._failed(of_error_object(data))
        self._events = []
        self._start(chunk)
        report = report_of(chunk.usage)
        if report is not None:
            self._usage = report
            self._events.append(canonical.UsageSoFar(report))
        for choice in chunk.choices or ():
            if not choice.index:
                self._choice(choice)
        if self._finish in BROKEN_OFF:
            return self._failed(Failure(outcomes.OVERLOADED, 503))
        return self._events

    def end(self) -> list[Event]:
        """Close a stream that said how it finished, though not that it is over. Raises UnreadableError for others."""
        if self._over or self._finish is None:
            raise UnreadableError
        return self._closing()

    def _failed(self, failure: Failure) -> list[Event]:
        self._over = True
        return [canonical.Failed(failure)]

    def _start(self, chunk: _Chunk) -> None:
        if self._started:
            return
        self._started = True
        self._id = chunk.id or ""
        self._events.append(canonical.MessageStart(self._id, chunk.model or ""))

    def _choice(self, choice: _Choice) -> None:
        delta = choice.delta
        if delta is not None:
            thought = delta.reasoning_content or delta.reasoning
            if thought:
                self._thinking(thought)
            if delta.content:
                self._text(text_of(delta.content))
            if delta.refusal:
                self._refused = True
                self._text(delta.refusal)
            for image in images_of(delta.images):
                self._image(image)
            for call in delta.tool_calls or ():
                self._call(call)
        # Some servers say an empty reason all along.
        if choice.finish_reason:
            self._finish = choice.finish_reason
            self._stop = stop_sequence_of(choice.stop_reason)

    # Blocks

    def _thinking(self, thought: str) -> None:
        if self._block != "thinking":
            self._close()
            self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        self._events.append(canonical.ThinkingDelta(self._index, thought))

    def _text(self, text: str) -> None:
        if self._block == "text":
            if text:
                self._events.append(canonical.TextDelta(self._index, text))
            return
        # White space between calls is no new block: it would end the call that is open.
        if not text or (self._block == "call" and not text.strip()):
            return
        self._close()
        self._begin("text", {"type": "text", "text": ""})
        self._events.append(canonical.TextDelta(self._index, text))

    def _image(self, block: canonical.Json) -> None:
        self._close()
        self._begin("", block)
        self._events.append(canonical.BlockStop(self._index))

    def _begin(self, kind: str, block: canonical.Json) -> None:
        self._index += 1
        self._block = kind
        self._events.append(canonical.BlockStart(self._index, block))

    def _close(self) -> None:
        """End whatever is open, with all calls that have been held back."""
        if self._block == "thinking":
            self._events.append(canonical.SignatureDelta(self._index, OWN_THINKING))
        for call in self._calls:
            if not call.over:
                self._say(call)
                self._finish_call(call)
        if self._block in {"text", "thinking"}:
            self._events.append(canonical.BlockStop(self._index))
        self._block = ""

    # Calls

    def _call(self, delta: _CallDelta) -> None:
        call = self._called(delta)
        function = delta.function
        if function is not None:
            call.name = call.name or function.name or None
            self._more(call, function.arguments)
        if not call.signature:
            call.signature = signature_of(delta.extra_content)
        if self._block in {"text", "thinking"}:
            self._end_words()
        self._advance()

    def _called(self, delta: _CallDelta) -> _Call:
        """Return the call that a delta belongs to.

        A new id with a name is a new call, even at an index that was there before: some servers number all calls 0.
        An id alone means nothing: some make a new one for every delta.
        """
        known = self._last if delta.index is None else self._places.get(delta.index)
        named = delta.function is not None and delta.function.name
        if known is not None and not (named and delta.id and known.id and delta.id != known.id):
            known.id = known.id or delta.id
            return known
        call = _Call(delta.id)
        self._calls.append(call)
        self._last = call
        if delta.index is not None:
            self._places[delta.index] = call
        return call

    @staticmethod
    def _more(call: _Call, arguments: Any) -> None:
        if arguments is None or arguments == "":
            return
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        if not call.over:
            call.arguments.append(text)
        elif text.strip():
            # It has been passed on as whole.
            raise UnreadableError

    def _end_words(self) -> None:
        if self._block == "thinking":
            self._events.append(canonical.SignatureDelta(self._index, OWN_THINKING))
        self._events.append(canonical.BlockStop(self._index))
        self._block = ""

    def _advance(self) -> None:
        """Say what can be said: all of the first open call, and of the next ones once it is whole."""
        waiting = [call for call in self._calls if not call.over]
        for place, call in enumerate(waiting):
            if call.name is None:
                return
            self._say(call)
            if place == len(waiting) - 1 or not call.whole():
                return
            self._finish_call(call)

    def _say(self, call: _Call) -> None:
        if not call.begun:
            self._open(call)
        if call.says_nothing():
            return
        for text in call.arguments[call.sent :]:
            self._events.append(canonical.InputDelta(self._index, text))
        call.sent = len(call.arguments)

    def _open(self, call: _Call) -> None:
        if not call.name:
            raise UnreadableError
        if call.signature:
            self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            tagged = signatures.tag(call.signature, PROVIDER)
            self._events += (canonical.SignatureDelta(self._index, tagged), canonical.BlockStop(self._index))
        call.begun = True
        call.id = call.id or call_id(self._id, self._calls.index(call))
        self._begin("call", {"type": "tool_use", "id": call.id, "name": call.name, "input": {}})

    def _finish_call(self, call: _Call) -> None:
        call.over = True
        call.arguments = []
        self._events.append(canonical.BlockStop(self._index))
        self._block = ""

    # The end

    def _closing(self) -> list[Event]:
        self._events = []
        self._over = True
        self._close()
        reason = reason_of(self._finish, called=bool(self._calls), refused=self._refused, stop=self._stop)
        stop = self._stop if reason == "stop_sequence" else None
        self._events += (canonical.MessageDelta(reason, stop, self._usage), canonical.MessageStop())
        return self._events
