"""Traces of requests: made after the fact, from the time stamps of an exchange that has ended.

Who is traced is drawn by lot when a request arrives. A client that sends a sampled `traceparent` is traced too, at a
bounded rate: a stranger may not decide what the gateway spends. Spans tell who, where to, how long and how it ended;
never a key, a prompt, an answer or a query.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from penstock_chassis.tracing import CURRENT, Span, TraceContext, new_root, parse
from penstock_edge.closing import delivery_state
from penstock_routing import outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock_chassis.tracing import Attributes, Kind, Tracer
    from penstock_edge.exchange import Attempt, Exchange
    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.records import Usage

TRACEPARENT: Final = b"traceparent"
_BURST_SECONDS: Final = 10.0
# Shorter gaps are our own work, not waiting.
_WAIT_SECONDS: Final = 0.001
_MOST_SETTLING: Final = 4096
_PROVIDERS: Final = {
    "Anthropic": "anthropic",
    "OpenAI": "openai",
    "Gemini": "gcp.gemini",
    "OpenAICompatible": "openai",
}
_FINE: Final = frozenset({outcomes.OK, outcomes.CLIENT_LEFT})
# A Gemini path holds the client's own text where the model's name stands.
_MODEL_IN_PATH: Final = re.compile(r"/models/.+(:[A-Za-z]+)$", re.DOTALL)


class Trace:
    """What is noted of one traced request while it goes on. Times are monotonic seconds."""

    __slots__ = ("admitted_at", "admitting", "attempts", "context", "parent_id")

    def __init__(self, context: TraceContext, parent_id: int) -> None:
        self.context = context
        self.parent_id = parent_id
        self.admitting = context.child()
        self.admitted_at: float | None = None
        self.attempts: list[tuple[Attempt, float, float]] = []
        """Each with when it ended, and when its first byte came (0: never)."""

    def ask_auth(self) -> None:
        """Let what auth is asked by the present task belong to this."""
        CURRENT.set(self.admitting)

    def admitted(self) -> None:
        """Note that the request may go on."""
        self.admitted_at = time.monotonic()

    def attempted(self, attempt: Attempt, now: float, loop_offset: float) -> None:
        """Note the end of an attempt; `loop_offset` is the monotonic clock minus the loop's."""
        call = attempt.call
        first = 0.0 if call is None or not call.first_byte_at else call.first_byte_at + loop_offset
        self.attempts.append((attempt, now, first))


class Tracing:
    """Begins and ends traces; one per process. `known` gives the facts of a key without asking anybody."""

    def __init__(
        self,
        tracer: Tracer,
        known: Callable[[bytes], KeyFacts | None],
        *,
        asked_per_second: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.drawn = tracer.drawn
        """Whether the lot hits the request that arrives."""
        self.asks = tracer.sampling.parent_based and asked_per_second > 0
        """Whether clients may ask."""
        self._tracer = tracer
        self._parent_based = tracer.sampling.parent_based
        self._known = known
        self._rate = asked_per_second
        self._burst = max(1.0, asked_per_second * _BURST_SECONDS)
        self._clock = clock
        self._left = self._burst
        self._filled_at = clock()
        self._settling: OrderedDict[str, tuple[Trace, int]] = OrderedDict()

    def hit(self, headers: Iterable[tuple[bytes, bytes]]) -> Trace | None:
        """Begin the trace of a request that the lot has hit; None when its client wants it untraced."""
        if self._parent_based:
            for name, value in headers:
                if name == TRACEPARENT and (parent := parse(value)) is not None:
                    return Trace(parent.child(), parent.span_id) if parent.sampled else None
        return Trace(new_root(), 0)

    def asked(self, header: bytes) -> Trace | None:
        """Begin the trace of a request whose client sent this `traceparent`, if it asks for it and not too many do."""
        parent = parse(header)
        if parent is None or not parent.sampled:
            return None
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._left < 1.0:
            return None
        self._left -= 1.0
        return Trace(parent.child(), parent.span_id)

    def looked_for(self, headers: Iterable[tuple[bytes, bytes]]) -> Trace | None:
        """Do the same for a request whose headers nobody has looked at yet."""
        for name, value in headers:
            if name == TRACEPARENT:
                return self.asked(value)
        return None

    def finish(self, exchange: Exchange, path: str) -> None:
        """Make the spans of an exchange that has ended: answered, settled, or left."""
        trace = exchange.trace
        if trace is None:
            return
        exchange.trace = None
        now = time.monotonic()
        spans = _Spans(trace, time.time_ns() - int(now * 1e9))
        spans.server(exchange, path, self._known(exchange.digest), now)
        spans.steps(exchange, now)
        self._tracer.put(spans.made)
        if exchange.opened is not None:
            self._settling[exchange.request_id] = trace, time.time_ns()
            if len(self._settling) > _MOST_SETTLING:
                self._settling.popitem(last=False)

    def settled(self, final: dict[str, bool]) -> None:
        """Make the spans of settlements that are final: True when there is a row, False when it was quarantined."""
        if not self._settling:
            return
        now = time.time_ns()
        for request_id in final.keys() & self._settling.keys():
            trace, began = self._settling.pop(request_id)
            error = "" if final[request_id] else "quarantined"
            context, parent_id = trace.context.child(), trace.context.span_id
            self._tracer.put([Span("settle", context, parent_id, began, now, error=error)])


class _Spans:
    """The spans of one request; `offset_ns` is the wall clock minus the monotonic one."""

    def __init__(self, trace: Trace, offset_ns: int) -> None:
        self._trace = trace
        self._offset_ns = offset_ns
        self.made: list[Span] = []

    def server(self, exchange: Exchange, path: str, key: KeyFacts | None, now: float) -> None:
        """Add the request itself."""
        trace, status = self._trace, exchange.reply.status
        route = _MODEL_IN_PATH.sub(r"/models/{model}\1", path)
        attributes: Attributes = {
            "http.request.method": "POST",
            "http.route": route,
            "gen_ai.operation.name": _operation(exchange),
            "gen_ai.request.stream": exchange.streamed,
            "penstock.request_id": exchange.request_id,
            "penstock.dialect": exchange.dialect.name,
            "penstock.attempts": len(exchange.attempts),
        }
        if status:
            attributes["http.response.status_code"] = status
        if exchange.model is not None:
            attributes["gen_ai.request.model"] = exchange.model.name
        if key is not None:
            attributes |= {"penstock.project": key.project, "penstock.key.id": key.key_id, "penstock.plan": key.plan}
        error = str(status) if status >= 500 else ""
        if exchange.opened is not None:
            state = delivery_state(exchange)
            attributes["penstock.delivery.state"] = state
            error = error or (state if state.startswith("error") else "")
            if exchange.delivered >= 0:
                record = exchange.attempts[exchange.delivered]
                attributes |= _figures(record.usage) | {"penstock.usage.estimated": record.estimated}
        self._add(
            f"POST {route}", trace.context, trace.parent_id, exchange.started_at, now, "server", attributes, error
        )

    def steps(self, exchange: Exchange, now: float) -> None:
        """Add what it consisted of: admission, each time of waiting for an account, each attempt."""
        trace = self._trace
        parent_id = trace.context.span_id
        self._add("admit", trace.admitting, parent_id, exchange.started_at, trace.admitted_at or now)
        if trace.admitted_at is None:
            return
        free_at = trace.admitted_at
        for attempt, ended_at, first_at in trace.attempts:
            self._wait(free_at, attempt.sent_at)
            self._attempt(exchange, attempt, ended_at, first_at)
            free_at = ended_at
        if not exchange.output_committed:
            self._wait(free_at, now)

    def _wait(self, start: float, end: float) -> None:
        if end - start >= _WAIT_SECONDS:
            self._add("wait", self._trace.context.child(), self._trace.context.span_id, start, end)

    def _attempt(self, exchange: Exchange, attempt: Attempt, ended_at: float, first_at: float) -> None:
        account = attempt.account
        operation = _operation(exchange)
        attributes: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDERS.get(account.provider, account.provider),
            "gen_ai.request.model": attempt.upstream_model,
            "gen_ai.request.stream": exchange.streamed,
            "http.request.method": "POST",
            "http.request.resend_count": attempt.index,
            "penstock.account": account.name,
            "penstock.class": attempt.cls,
        }
        attributes |= _server(account.base_url)
        if attempt.status:
            attributes["http.response.status_code"] = attempt.status
        if attempt.pick.trial:
            attributes["penstock.trial"] = True
        if attempt.meter.reported:
            attributes |= _figures(attempt.meter.usage())
        if first_at:
            attributes["gen_ai.response.time_to_first_chunk"] = max(0.0, first_at - attempt.sent_at)
        context, parent_id = self._trace.context.child(), self._trace.context.span_id
        error = "" if attempt.cls in _FINE else attempt.cls
        self._add(
            f"{operation} {attempt.upstream_model}",
            context,
            parent_id,
            attempt.sent_at,
            ended_at,
            "client",
            attributes,
            error,
        )
        if first_at:
            self.made[-1].events = (("first_byte", self._wall(first_at)),)

    def _add(
        self,
        name: str,
        context: TraceContext,
        parent_id: int,
        start: float,
        end: float,
        kind: Kind = "internal",
        attributes: Attributes | None = None,
        error: str = "",
    ) -> None:
        self.made.append(
            Span(name, context, parent_id, self._wall(start), self._wall(end), kind, attributes or {}, error=error)
        )

    def _wall(self, moment: float) -> int:
        return self._offset_ns + int(moment * 1e9)


def _operation(exchange: Exchange) -> str:
    """Return what OpenTelemetry calls the operation, where it has a word for it."""
    if exchange.operation == outcomes.COUNT_TOKENS:
        return outcomes.COUNT_TOKENS
    wire = exchange.dialect.wire
    return {"embeddings": "embeddings", "generate": "generate_content"}.get(wire, "chat")


def _figures(usage: Usage) -> Attributes:
    written = usage.cache_write_5m_input_tokens + usage.cache_write_1h_input_tokens
    return {
        "gen_ai.usage.input_tokens": usage.whole_input,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_input_tokens,
        "gen_ai.usage.cache_creation.input_tokens": written,
    }


def _server(base_url: str) -> Attributes:
    """Return where an account is: host and port alone, for the rest may hold what is nobody's business."""
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return {}
    if not host:
        return {}
    return {"server.address": host, "server.port": port or (443 if parts.scheme == "https" else 80)}
