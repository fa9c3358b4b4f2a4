"""What a client is told besides the answer itself: headers, and what went wrong, in its own dialect."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from penstock_edge.answer_head import READY, lines
from penstock_edge.cost import charge_micro, whole_input
from penstock_edge.limit_headers import LimitHeaders
from penstock_edge.notes import line
from penstock_edge.route_header import route_header
from penstock_routing import outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.errors import Problem
    from penstock_edge.exchange import Attempt, Exchange
    from penstock_routing import Pool

_MOST_IGNORED_BYTES: Final = 2_000
_MOST_MODELS: Final = 1_024
_TOKENS: Final = b"\r\npenstock-input-tokens: %d\r\npenstock-output-tokens: %d"
_TOKENS_AND_COST: Final = _TOKENS + b"\r\npenstock-cost-micro: %d"


class Answering:
    """Writes heads and errors; one per process."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._limits = LimitHeaders()
        self._models: dict[str, bytes] = {}

    def unary_headers(self, exchange: Exchange, attempt: Attempt) -> Headers:
        """Return the headers of a whole answer that say what it used, and what is left; a new list."""
        headers = [(READY, self._figures(exchange, attempt) + self._limit_lines(exchange))]
        headers += self._rare(exchange)
        return headers + _ignored_header(exchange.ignored) if exchange.ignored else headers

    def stream_headers(self, exchange: Exchange) -> Headers:
        """Return the headers of a streamed answer."""
        headers = exchange.dialect.stream_headers(exchange.asked)
        if exchange.model is not None:
            headers.append((b"penstock-model", exchange.model.name.encode()))
        headers.append((READY, self._limit_lines(exchange)))
        return headers + self._rare(exchange) + _ignored_header(exchange.ignored)

    async def problem(self, exchange: Exchange, problem: Problem) -> None:
        """Tell the client what went wrong, in the form that is still possible."""
        reply, dialect = exchange.reply, exchange.dialect
        if reply.ended:
            return
        if reply.started:
            await reply.end(b"" if exchange.error_forwarded else self._last_words(exchange, problem))
            return
        headers = dialect.error_headers(problem)
        headers.append((READY, self._limit_lines(exchange)))
        headers += self._rare(exchange)
        body = dialect.error_body(problem, exchange.request_id)
        await reply.whole(dialect.error_status(problem), headers, body)

    @staticmethod
    def _last_words(exchange: Exchange, problem: Problem) -> bytes:
        """Return what ends a stream that has begun and cannot be finished."""
        if exchange.output_committed and exchange.follower is not None:
            return exchange.follower.fail(problem)
        return exchange.dialect.error_event(problem, exchange.request_id, exchange.asked)

    def _figures(self, exchange: Exchange, attempt: Attempt) -> bytes:
        model = exchange.model
        if exchange.operation != outcomes.MESSAGES or model is None or not attempt.meter.reported:
            return b""
        tokens = attempt.meter.tokens()
        line, price, admitted = self._model_line(model.name), exchange.price, exchange.admitted
        if price is None or admitted is None:
            return line + _TOKENS % (whole_input(tokens), tokens[1])
        cost = charge_micro(tokens, price, admitted.key.price_multiplier_ppm)
        return line + _TOKENS_AND_COST % (whole_input(tokens), tokens[1], cost)

    def _model_line(self, name: str) -> bytes:
        line = self._models.get(name)
        if line is None:
            if len(self._models) >= _MOST_MODELS:
                self._models.clear()
            line = self._models[name] = lines([(b"penstock-model", name.encode())])
        return line

    def _limit_lines(self, exchange: Exchange) -> bytes:
        admitted = exchange.admitted
        return b"" if admitted is None else self._limits.get(exchange.dialect, exchange.digest, admitted)

    def _rare(self, exchange: Exchange) -> Headers:
        """Return what only some answers say, besides the limits."""
        headers: Headers = []
        admitted = exchange.admitted
        if admitted is None:
            return headers
        if admitted.degraded:
            headers.append((b"penstock-degraded", b"store-outage"))
        if admitted.key.shows_route:
            headers += route_header(exchange, self._pool, time.monotonic())
        return headers


def _ignored_header(ignored: Sequence[str]) -> Headers:
    """Return the header that says what of a request could not be carried."""
    text = line(ignored, _MOST_IGNORED_BYTES)
    if not text:
        return []
    # Names of fields are the client's own words.
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return [(b"penstock-ignored-fields", plain.encode())]
