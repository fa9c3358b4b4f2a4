"""/admin/v1/usage: rows of the ledger, one per request, and their sums."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from penstock.auth.v1 import admin_pb2, auth_pb2
from penstock_status import moments
from penstock_status.api.access import PeersDep

router = APIRouter(prefix="/usage", tags=["usage"])

PAGE_ROWS = 10_000
State = Literal["complete", "client_left", "error_before_output", "error_after_output", "abandoned"]


class TokensDocument(BaseModel):
    """Tokens in the names of the Messages API; `cache_creation_input_tokens` is the sum of both cache writes."""

    input_tokens: int = Field(description="Not from the cache.")
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    cache_write_5m_input_tokens: int
    cache_write_1h_input_tokens: int


def _tokens(usage: auth_pb2.Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation_input_tokens": usage.cache_write_5m_input_tokens + usage.cache_write_1h_input_tokens,
        "cache_write_5m_input_tokens": usage.cache_write_5m_input_tokens,
        "cache_write_1h_input_tokens": usage.cache_write_1h_input_tokens,
    }


class AttemptDocument(TokensDocument):
    """One try at one account; `cost_micro` is at the request's price without the plan's multiplier."""

    index: int
    account: str
    outcome: str = Field(serialization_alias="class", description="Ok, ClientLeft, or an error class.")
    status: int | None = Field(description="HTTP status of the upstream; none when there was no answer.")
    reported: bool = Field(description="The upstream reported its usage.")
    estimated: bool
    upstream_request_id: str | None
    upstream_model: str
    started_at: datetime
    first_byte_ms: int | None
    duration_ms: int
    cost_micro: int

    @classmethod
    def of(cls, row: auth_pb2.AttemptRow) -> "AttemptDocument":
        """Translate auth's answer."""
        attempt = row.attempt
        return cls(
            index=attempt.index,
            account=attempt.account,
            outcome=getattr(attempt, "class"),
            status=attempt.status or None,
            reported=attempt.reported,
            estimated=attempt.estimated,
            upstream_request_id=attempt.upstream_request_id or None,
            upstream_model=attempt.upstream_model,
            started_at=moments.of_ms(attempt.started_at_ms),
            first_byte_ms=attempt.first_byte_ms if attempt.first_byte_ms >= 0 else None,
            duration_ms=attempt.duration_ms,
            cost_micro=row.cost_micro,
            **_tokens(attempt.usage),
        )


class UsageDocument(TokensDocument):
    """One request: the delivered attempt's tokens and what they cost the project, in micro-USD."""

    request_id: str
    project: str
    key_id: str
    account: str = Field(description="Of the delivered attempt, else of the last one.")
    model: str
    dialect: str
    streamed: bool
    state: State
    estimated: bool
    cost_micro: int
    price_digest: str
    admitted_at: datetime
    duration_ms: int
    attempts: list[AttemptDocument]

    @classmethod
    def of(cls, row: auth_pb2.UsageRow) -> "UsageDocument":
        """Translate auth's answer."""
        return cls.model_validate(
            {
                "request_id": row.request_id,
                "project": row.project,
                "key_id": row.key_id,
                "account": row.account,
                "model": row.model,
                "dialect": row.dialect,
                "streamed": row.streamed,
                "state": row.state,
                "estimated": row.estimated,
                "cost_micro": row.cost_micro,
                "price_digest": row.price_digest,
                "admitted_at": moments.of_ms(row.admitted_at_ms),
                "duration_ms": row.duration_ms,
                "attempts": [AttemptDocument.of(attempt) for attempt in row.attempts],
                **_tokens(row.usage),
            }
        )


class UsagePage(BaseModel):
    """Some rows, newest first, and where the next ones begin; no token: there are none."""

    rows: list[UsageDocument]
    next_page_token: str | None


class UsageSummaryDocument(TokensDocument):
    """Sums over a project's rows."""

    project: str
    requests: int
    cost_micro: int


@router.get("")
async def list_page(
    peers: PeersDep,
    project: Annotated[str, Query()] = "",
    since: Annotated[datetime | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_ROWS)] = 1000,
    page_token: Annotated[str, Query(max_length=1000)] = "",
) -> UsagePage:
    """List the rows of one project, or of all."""
    request = admin_pb2.ListUsageRequest(
        project=project, since_ms=moments.to_ms(since), limit=limit, state=state or "", page_token=page_token
    )
    answer = await peers.ask(peers.admin.ListUsage, request)
    rows = [UsageDocument.of(row) for row in answer.rows]
    return UsagePage(rows=rows, next_page_token=answer.next_page_token or None)


@router.get("/summary")
async def summarise(
    project: Annotated[str, Query(min_length=1)],
    peers: PeersDep,
    since: Annotated[datetime | None, Query()] = None,
    until: Annotated[datetime | None, Query()] = None,
) -> UsageSummaryDocument:
    """Sum up a project's rows."""
    request = admin_pb2.SummarizeUsageRequest(
        project=project, since_ms=moments.to_ms(since), until_ms=moments.to_ms(until)
    )
    summary = await peers.ask(peers.admin.SummarizeUsage, request)
    return UsageSummaryDocument(
        project=project, requests=summary.requests, cost_micro=summary.cost_micro, **_tokens(summary.usage)
    )


@router.get("/{request_id}")
async def show(request_id: str, peers: PeersDep) -> UsageDocument:
    """Show one request's row, whatever its project."""
    return UsageDocument.of(await peers.ask(peers.admin.ShowUsage, admin_pb2.ShowUsageRequest(request_id=request_id)))
