"""Makes content blocks of output items: one after the other, though items may come in side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_edge.canonical import BlockStart, BlockStop, InputDelta, SignatureDelta, TextDelta, ThinkingDelta
from penstock_edge.providers.openai_responses.output import signature_of, thinking_of

if TYPE_CHECKING:
    from penstock_edge.canonical import Event, Json
    from penstock_edge.providers.openai_responses.output import Item


class _Open:
    """An item that is not whole yet."""

    __slots__ = ("held", "kind", "part", "source", "talking", "told", "whole")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.held: list[Event] = []
        """Its events, while another item is being told; their indexes are not known yet."""
        self.talking = False
        """A block of it has begun and not ended."""
        self.told = False
        """Something of it has come in as deltas."""
        self.part = -1
        """The part that it is at."""
        self.source = ""
        """Which of two ways to tell the same thinking it uses."""
        self.whole = False


class OutputBlocks:
    """Follows the items of one answer."""

    __slots__ = ("_events", "_index", "_items", "_told", "called", "refused")

    def __init__(self) -> None:
        self._items: dict[int, _Open] = {}
        """By output index, in order of appearance; the first is the one being told."""
        self._told: set[int] = set()
        self._events: list[Event] = []
        self._index = -1
        self.called = False
        """The model has called a tool."""
        self.refused = False
        """The model has declined to answer."""

    def take(self) -> list[Event]:
        """Return the events that are ready."""
        events, self._events = self._events, []
        return events

    def added(self, place: int, item: Item) -> None:
        """Begin an item."""
        if place in self._items or place in self._told:
            return
        opened = self._items[place] = _Open(item.type)
        if item.type == "function_call":
            self.called = True
            call_id = item.call_id or item.id or f"call_{place}"
            self._begin(opened, {"type": "tool_use", "id": call_id, "name": item.name, "input": {}})

    def text(self, place: int, part: int, text: str, *, refused: bool) -> None:
        """Take over more of a message."""
        self.refused = self.refused or refused
        opened = self._opened(place, "message")
        if not text or opened is None:
            return
        if opened.part != part:
            self._stop(opened)
            opened.part = part
        if not opened.talking:
            self._begin(opened, {"type": "text", "text": ""})
        opened.told = True
        self._say(opened, TextDelta(self._index, text))

    def thinking(self, place: int, source: str, part: int, text: str) -> None:
        """Take over more of reasoning. It may be told in full or as a summary; the first way met counts."""
        opened = self._opened(place, "reasoning")
        if not text or opened is None or opened.source not in {"", source}:
            return
        opened.source = source
        if not opened.talking:
            self._begin(opened, {"type": "thinking", "thinking": "", "signature": ""})
        elif opened.part != part:
            text = "\n\n" + text
        opened.part = part
        opened.told = True
        self._say(opened, ThinkingDelta(self._index, text))

    def arguments(self, place: int, partial_json: str) -> None:
        """Take over more of a tool call's input."""
        opened = self._items.get(place)
        if opened is None or opened.whole or opened.kind != "function_call" or not partial_json:
            return
        opened.told = True
        self._say(opened, InputDelta(self._index, partial_json))

    def done(self, place: int, item: Item) -> None:
        """End an item; what had not come in as deltas comes in now."""
        if place in self._told:
            return
        self.added(place, item)
        opened = self._items[place]
        if opened.whole:
            # It waits for its turn, and what comes after its end is not part of it.
            return
        if opened.kind == "message":
            self._rest_of_message(place, item)
        elif opened.kind == "reasoning":
            self._rest_of_reasoning(place, item)
        elif opened.kind == "function_call" and not opened.told:
            self.arguments(place, item.arguments)
        self._stop(opened)
        opened.whole = True
        self._next()

    def close(self) -> None:
        """End whatever is open."""
        for opened in self._items.values():
            self._stop(opened)
            opened.whole = True
        self._next()

    def _rest_of_message(self, place: int, item: Item) -> None:
        untold = not self._items[place].told
        for number, part in enumerate(item.content or ()):
            refused = part.type == "refusal"
            self.text(place, number, (part.text or part.refusal) if untold else "", refused=refused)

    def _rest_of_reasoning(self, place: int, item: Item) -> None:
        opened = self._items[place]
        if not opened.told:
            self.thinking(place, "", 0, thinking_of(item))
        signature = signature_of(item)
        if not signature:
            return
        if not opened.talking:
            self._begin(opened, {"type": "thinking", "thinking": "", "signature": ""})
        self._say(opened, SignatureDelta(self._index, signature))

    def _opened(self, place: int, kind: str) -> _Open | None:
        """Return an open item of a kind that is not whole, begun now if its beginning never came."""
        opened = self._items.get(place)
        if opened is None:
            if place in self._told:
                return None
            opened = self._items[place] = _Open(kind)
        return opened if opened.kind == kind and not opened.whole else None

    def _begin(self, opened: _Open, block: Json) -> None:
        opened.talking = True
        self._say(opened, BlockStart(0, block))

    def _stop(self, opened: _Open) -> None:
        if opened.talking:
            opened.talking = False
            self._say(opened, BlockStop(0))

    def _say(self, opened: _Open, event: Event) -> None:
        if opened is next(iter(self._items.values())):
            self._emit(event)
        else:
            opened.held.append(event)

    def _emit(self, event: Event) -> None:
        if isinstance(event, BlockStart):
            self._index += 1
        event.index = self._index  # type: ignore[union-attr]  # only events of blocks are ever held
        self._events.append(event)

    def _next(self) -> None:
        """Go on with the items behind those that are whole."""
        while self._items:
            place, opened = next(iter(self._items.items()))
            if not opened.whole:
                return
            del self._items[place]
            self._told.add(place)
            for following in self._items.values():
                for event in following.held:
                    self._emit(event)
                following.held = []
                break
