"""A request's trip through the edge in this process: by the code that serves real ones, without network and books."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from answered import ANSWER, Stream, answer, word
from asked import request

from penstock_edge import signatures
from penstock_edge.crossing import cross
from penstock_edge.dialects.dialect import Birth
from penstock_edge.exchange import Exchange
from penstock_edge.providers.wire import Signal
from penstock_edge.routes import doors
from penstock_edge.sse import EventSplitter
from penstock_edge.usage import UsageMeter
from penstock_routing import AccountFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from asked import Turn

    from penstock_edge.passage import Passage
    from penstock_edge.routes.inference import Door

ACCOUNTS = {
    "messages": ("Anthropic", "claude-sonnet-4-6"),
    "chat": ("OpenAICompatible", "qwen3-coder"),
    "responses": ("OpenAI", "gpt-5.2"),
    "generate": ("Gemini", "gemini-2.5-flash"),
}
# What OpenAI serves on /v1/responses alone, so that a chat client's request must cross.
CODEX = "gpt-5.3-codex"
PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}

REQUEST_ID = "req_" + 32 * "5"
BIRTH = Birth(REQUEST_ID, 1_750_000_000)


class Trip:
    """One client's request to one account, step by step, by the code that serves real ones."""

    def __init__(self, spoken: str, wire: str, turns: list[Turn], *, streamed: bool) -> None:
        provider, model = ACCOUNTS[wire]
        if (spoken, wire) == ("chat", "responses"):
            model = CODEX
        self.native = spoken == wire
        self.last = turns[-1].texts[-1].encode()
        self.body = request(spoken, model, turns, streamed=streamed)
        self._door = _door(spoken, model, streamed=streamed)
        self._account = AccountFacts(name="a", provider=provider)
        nobody = cast("Any", None)
        self._exchange = Exchange(REQUEST_ID, nobody, nobody, self._door.dialect, self._door.operation)
        self._exchange.body = self.body
        self._answer = answer(wire)
        self.head()
        self.passage: Passage | None = self.cross()

    def head(self) -> None:
        """Read the request's head."""
        exchange = self._exchange
        head = exchange.head = self._door.read(exchange.body)
        exchange.asked_model = head.model
        exchange.streamed = head.stream
        exchange.origins = signatures.origins(exchange.body)

    def read(self) -> None:
        """Understand the request whole; nobody does when bytes pass."""
        exchange = self._exchange
        exchange.conversation = exchange.dialect.read(exchange.asked, exchange.body, BIRTH)

    def cross(self) -> Passage:
        """Return the way to the account, with the request written for it."""
        return cross(self._exchange, self._account)[1]

    def write(self) -> None:
        """Write the request for the account."""
        self.passage = self.cross()

    def steps(self) -> list[tuple[str, Callable[[], object]]]:
        """Return what comes before the request is sent, in order."""
        read = [] if self.native else [("read", self.read)]
        return [("head", self.head), *read, ("write", self.write)]

    def forget(self) -> None:
        """Let go of all but the request, as the edge does once it is over."""
        self._exchange.head = self._exchange.conversation = None
        self.passage = None

    def answer(self) -> bytes | None:
        """Turn the account's answer into the client's."""
        assert self.passage is not None
        return self.passage.whole(self._answer, UsageMeter())

    def whole(self) -> bytes | None:
        """Do everything, from the head to the answer."""
        self._exchange.conversation = None
        self.head()
        self.write()
        return self.answer()


def _door(spoken: str, model: str, *, streamed: bool) -> Door:
    if spoken != "generate":
        return dict(doors.fixed())[PATHS[spoken]]
    method = "streamGenerateContent" if streamed else "generateContent"
    door = doors.gemini_door(f"/v1beta/models/{model}:{method}", b"alt=sse")
    assert door is not None
    return door


def follow(passage: Passage, stream: Stream) -> float:
    """Follow a stream through its deltas; returns the CPU nanoseconds of one."""
    splitter, follower = EventSplitter(), passage.follower(UsageMeter())
    take, feed = follower.take, splitter.feed
    for piece in stream.opening:
        for event in feed(piece):
            take(event)
    begin = time.process_time_ns()
    for piece in stream.deltas:
        for event in feed(piece):
            take(event)
    return (time.process_time_ns() - begin) / len(stream.deltas)


def prove(trip: Trip) -> None:
    """Raise unless a request really crosses: a refusal would look like speed."""
    said = trip.whole()
    passage = trip.cross()
    whole = said is not None and ANSWER.encode() in said and trip.last in passage.body
    if not whole or passage.ignored:
        raise RuntimeError(f"the request did not cross whole: {passage.ignored}")


def prove_stream(passage: Passage, stream: Stream) -> None:
    """Raise unless every delta comes out, and the proper end."""
    splitter, follower = EventSplitter(), passage.follower(UsageMeter())
    told = b""
    signal = Signal.PRELUDE
    for piece in (*stream.opening, *stream.deltas, *stream.closing):
        for event in splitter.feed(piece):
            signal, out = follower.take(event)
            told += out
    if signal is not Signal.STOP:
        signal, out = follower.end(splitter.rest())
    at = 0
    for number in range(len(stream.deltas)):
        at = told.find(word(number).encode(), at)
        if at < 0:
            raise RuntimeError("a delta did not cross")
    if signal is not Signal.STOP:
        raise RuntimeError("the stream did not end well")
