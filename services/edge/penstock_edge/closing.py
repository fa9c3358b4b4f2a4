"""How a request ends in the books: its state, what it is taken to have used, and the settlement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_routing import outcomes

if TYPE_CHECKING:
    from penstock_edge.estimates import Estimates
    from penstock_edge.exchange import Exchange
    from penstock_edge.metrics import EdgeMetrics
    from penstock_edge.records import DeliveryState, Opened
    from penstock_edge.seams import Admission, Settlement


class Closing:
    """Closes exchanges; one per process."""

    def __init__(
        self, *, admission: Admission, settlement: Settlement, estimates: Estimates, metrics: EdgeMetrics
    ) -> None:
        self._admission = admission
        self._settlement = settlement
        self._estimates = estimates
        self._metrics = metrics

    def settle(self, exchange: Exchange) -> None:
        """Let go of what an ended exchange held, and settle it if anything was opened."""
        admitted, opened = exchange.admitted, exchange.opened
        if admitted is None:
            return
        exchange.admitted = None
        self._admission.ended(admitted)
        if opened is None:
            self._admission.settled(admitted)
            return
        state = delivery_state(exchange)
        estimated = False
        if state in {"client_left", "error_after_output"}:
            estimated = self._estimate(exchange, opened)
        elif state == "complete" and exchange.attempts[-1].reported:
            self._learn(exchange, opened)
        elif state == "complete":
            estimated = self._estimate_whole(exchange, opened)
        self._settlement.finish(opened, exchange.closed(state, estimated=estimated), admitted)
        self._metrics.delivered(state)
        if exchange.delivered >= 0:
            self._metrics.used(opened.model, exchange.attempts[exchange.delivered].usage)

    def _estimate(self, exchange: Exchange, opened: Opened) -> bool:
        """Fill in what an upstream could no longer say; returns whether the figures hold an estimate."""
        record = exchange.attempts[-1] if exchange.attempts else None
        if record is None or (not exchange.output_committed and record.cls != outcomes.CLIENT_LEFT):
            return False
        exchange.delivered = record.index
        if exchange.final_usage:
            return False
        said = self._estimates.relayed_tokens(exchange.characters, opened.model)
        record.usage.output_tokens = max(record.usage.output_tokens, said)
        record.estimated = True
        return True

    def _estimate_whole(self, exchange: Exchange, opened: Opened) -> bool:
        """Fill in the figures of an upstream that tells none, as some compatible servers do."""
        record = exchange.attempts[-1]
        record.usage.input_tokens = opened.hold_input_tokens
        record.usage.output_tokens = self._estimates.relayed_tokens(exchange.characters, opened.model)
        record.estimated = True
        return True

    def _learn(self, exchange: Exchange, opened: Opened) -> None:
        record = exchange.attempts[-1]
        self._estimates.learn(
            digest=exchange.digest,
            model=opened.model,
            body_bytes=exchange.body_bytes,
            has_blobs=exchange.blobs,
            characters=exchange.characters,
            usage=record.usage,
        )


def delivery_state(exchange: Exchange) -> DeliveryState:
    """Return how a request ended that may have reached an upstream."""
    last = exchange.attempts[-1] if exchange.attempts else None
    if last is not None and last.cls == outcomes.OK:
        return "complete"
    if exchange.interrupted == "client_left":
        return "client_left"
    return "error_after_output" if exchange.output_committed else "error_before_output"
