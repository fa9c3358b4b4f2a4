"""What a client is told besides the answer itself: headers, and what went wrong, in its own dialect."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from penstock_catalog.prices import cost_micro
from penstock_edge.limit_headers import LimitHeaders
from penstock_edge.route_header import route_header
from penstock_routing import outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.errors import Problem
    from penstock_edge.exchange import Attempt, Exchange
    from penstock_routing import Pool

_MOST_IGNORED_BYTES: Final = 2_000


class Answering:
    """Writes heads and errors; one per process."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._limits = LimitHeaders()

    def unary_headers(self, exchange: Exchange, attempt: Attempt) -> Headers:
        """Return the headers of a whole answer that say what it used, and what is left."""
        headers = self._figures(exchange, attempt)
        headers += self._limit_headers(exchange)
        return headers + _ignored_header(exchange.ignored) if exchange.ignored else headers

    def stream_headers(self, exchange: Exchange) -> Headers:
        """Return the headers of a streamed answer."""
        headers = exchange.dialect.stream_headers(exchange.asked)
        if exchange.model is not None:
            headers.append((b"penstock-model", exchange.model.name.encode()))
        return headers + self._limit_headers(exchange) + _ignored_header(exchange.ignored)

    async def problem(self, exchange: Exchange, problem: Problem) -> None:
        """Tell the client what went wrong, in the form that is still possible."""
        reply, dialect = exchange.reply, exchange.dialect
        if reply.ended:
            return
        if reply.started:
            await reply.end(b"" if exchange.error_forwarded else self._last_words(exchange, problem))
            return
        headers = dialect.error_headers(problem) + self._limit_headers(exchange)
        body = dialect.error_body(problem, exchange.request_id)
        await reply.whole(dialect.error_status(problem), headers, body)

    @staticmethod
    def _last_words(exchange: Exchange, problem: Problem) -> bytes:
        """Return what ends a stream that has begun and cannot be finished."""
        if exchange.output_committed and exchange.follower is not None:
            return exchange.follower.fail(problem)
        return exchange.dialect.error_event(problem, exchange.request_id, exchange.asked)

    @staticmethod
    def _figures(exchange: Exchange, attempt: Attempt) -> Headers:
        if exchange.operation != outcomes.MESSAGES or exchange.model is None or not attempt.meter.reported:
            return []
        usage = attempt.meter.usage()
        figures = [
            (b"penstock-model", exchange.model.name.encode()),
            (b"penstock-input-tokens", b"%d" % usage.whole_input),
            (b"penstock-output-tokens", b"%d" % usage.output_tokens),
        ]
        if exchange.price is not None and exchange.admitted is not None:
            cost = cost_micro(usage, exchange.price, exchange.admitted.key.price_multiplier_ppm)
            figures.append((b"penstock-cost-micro", b"%d" % cost))
        return figures

    def _limit_headers(self, exchange: Exchange) -> Headers:
        admitted = exchange.admitted
        if admitted is None:
            return []
        headers = self._limits.get(exchange.dialect, exchange.digest, admitted)
        if admitted.degraded:
            headers = [*headers, (b"penstock-degraded", b"store-outage")]
        if admitted.key.shows_route:
            headers = headers + route_header(exchange, self._pool, time.monotonic())
        return headers


def _ignored_header(ignored: Iterable[str]) -> Headers:
    """Return the header that says what of a request could not be carried."""
    text = ", ".join(dict.fromkeys(ignored))
    if not text:
        return []
    # Names of fields are the client's own words.
    plain = "".join(char if " " <= char <= "~" else "?" for char in text[:_MOST_IGNORED_BYTES])
    return [(b"penstock-ignored-fields", plain.encode())]
