"""GET /v1/usage/{request_id}: what one request used and cost, from the moment that it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from penstock.auth.v1 import auth_pb2
from penstock_catalog.charges import cost_micro
from penstock_edge import errors, request_id
from penstock_edge.errors import Problem, ProblemError
from penstock_edge.records import Closed, Usage
from penstock_edge.routes.plain import answer, caller
from penstock_edge.routes.route import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from penstock_edge.records import Opened
    from penstock_edge.routes.route import Answer, Asked
    from penstock_edge.seams import Admission, Settlement, View

# A request may be on its way from the edge that served it for so long; after that an unknown id is unknown.
_ON_ITS_WAY_MS = 10 * 60 * 1000


def shown(
    *, name: str, model: str, state: str, estimated: bool, usage: Usage, cost: int, attempts: int, streamed: bool
) -> dict[str, Any]:
    """Return a usage row as clients see it."""
    written = usage.cache_write_5m_input_tokens + usage.cache_write_1h_input_tokens
    return {
        "request_id": name,
        "state": state,
        "model": model,
        "estimated": estimated,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation_input_tokens": written,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_input_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_input_tokens,
        },
        "cost_micro": cost,
        "attempts": attempts,
        "streamed": streamed,
    }


def routes(
    view: View,
    admission: Admission,
    settlement: Settlement,
    stub: AuthServiceAsyncStub,
    seconds: float,
    now_ms: Callable[[], int],
) -> list[Route]:
    """Return the endpoint. `now_ms()` is unix milliseconds, `seconds` the time that auth has to answer."""

    def own(name: str, closed: Closed, opened: Opened) -> dict[str, Any]:
        usage, cost = Usage(), 0
        if closed.delivered >= 0:
            usage = closed.attempts[closed.delivered].usage
            model = view.resolve(opened.model)
            # The price that the ledger will charge: the one that was named when the request began.
            prices = () if model is None else model.prices
            price = next((row for row in prices if row.digest == opened.price_digest), None)
            if price is not None:
                cost = cost_micro(usage, price, opened.price_multiplier_ppm)
        return shown(
            name=name,
            model=opened.model,
            state=closed.state,
            estimated=closed.estimated,
            usage=usage,
            cost=cost,
            attempts=len(closed.attempts),
            streamed=opened.streamed,
        )

    def pending(name: str) -> Answer:
        return answer({"request_id": name, "state": "pending"}, 202, [(b"retry-after", b"1")])

    def unknown(name: str) -> ProblemError:
        return ProblemError(Problem(404, errors.NOT_FOUND, f"request: {name[:64]}"))

    async def get_usage(asked: Asked) -> Answer:
        name = asked.rest
        digest, key = await caller(asked, admission, seconds)
        made_at = request_id.made_at_ms(name)
        if made_at is None:
            raise unknown(name)
        opened, closed = settlement.opened(name), settlement.pending(name)
        if opened is not None:
            if opened.project != key.project:
                raise unknown(name)
            return answer(own(name, closed, opened)) if isinstance(closed, Closed) else pending(name)
        try:
            found = await stub.GetUsage(auth_pb2.GetUsageRequest(request_id=name, key_sha256=digest), timeout=seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND or now_ms() - made_at < _ON_ITS_WAY_MS:
                return pending(name)
            raise unknown(name) from None
        if not found.HasField("row"):
            if now_ms() - made_at < _ON_ITS_WAY_MS:
                return pending(name)
            raise unknown(name)
        line = found.row
        return answer(
            shown(
                name=name,
                model=line.model,
                state=line.state,
                estimated=line.estimated,
                usage=Usage(
                    input_tokens=line.usage.input_tokens,
                    output_tokens=line.usage.output_tokens,
                    cache_read_input_tokens=line.usage.cache_read_input_tokens,
                    cache_write_5m_input_tokens=line.usage.cache_write_5m_input_tokens,
                    cache_write_1h_input_tokens=line.usage.cache_write_1h_input_tokens,
                ),
                cost=line.cost_micro,
                attempts=len(line.attempts),
                streamed=line.streamed,
            )
        )

    return [
        Route(
            path="/v1/usage/{name}",
            give=get_usage,
            summary="What one request used and cost",
            description="Show the row of a request of the key's own project; 202 while it is not known yet.",
            tag="usage",
            operation_id="get_usage_v1_usage__name__get",
        )
    ]
