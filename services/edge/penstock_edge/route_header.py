"""The header that tells a client which accounts were looked at, where its plan shows that (`routeHeader: Show`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_routing import outcomes, words

if TYPE_CHECKING:
    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.exchange import Exchange
    from penstock_routing import Pool

NAME: Final = b"penstock-route"
_MOST_BYTES: Final = 1_000


def route_header(exchange: Exchange, pool: Pool, now: float) -> Headers:
    """Return the header as things stand; `now` is the pool's seconds."""
    traits = exchange.traits
    if traits is None:
        return []
    current = exchange.current
    # An attempt that has ended well may be on the list already.
    tried = {record.account: record.cls for record in exchange.attempts if record.cls != outcomes.OK}
    line = words.route(
        pool.explain(traits, now),
        tried,
        "" if current is None else current.account.name,
        affinity=traits.affinity is not None,
        despite=current is not None and current.pick.despite,
        most_bytes=_MOST_BYTES,
    )
    return [(NAME, line.encode("ascii", "replace"))] if line else []
