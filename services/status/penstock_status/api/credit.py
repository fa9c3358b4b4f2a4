"""/admin/v1/credit: prepaid money of projects, an append-only list of entries."""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator

from penstock.auth.v1 import admin_pb2
from penstock_status import moments, project_names
from penstock_status.api.access import ACTOR, PeersDep
from penstock_status.api.asked import Asked

router = APIRouter(prefix="/credit", tags=["credit"])

MOST_MICRO = 10**15
"""A thousand million USD: more is a slip."""


class CreditEntryDocument(BaseModel):
    """One entry, in micro-USD, and the balance after it."""

    id: int
    project: str
    kind: str = Field(description="topup, charge, refund, adjustment or expiry.")
    amount_micro: int
    balance_micro: int
    request_id: str | None
    note: str
    created_at: datetime

    @classmethod
    def of(cls, entry: admin_pb2.CreditEntry) -> "CreditEntryDocument":
        """Translate auth's answer."""
        return cls(
            id=entry.id,
            project=entry.project,
            kind=entry.kind,
            amount_micro=entry.amount_micro,
            balance_micro=entry.balance_micro,
            request_id=entry.request_id or None,
            note=entry.note,
            created_at=moments.of_ms(entry.created_at_ms),
        )


class CreditDocument(BaseModel):
    """The newest entries of a project, and its balance."""

    project: str
    balance_micro: int
    entries: list[CreditEntryDocument]


class NewCredit(Asked):
    """An entry made by a person; charges are made by the ledger alone."""

    project: str = Field(pattern=project_names.PATTERN)
    amount_micro: int = Field(ge=-MOST_MICRO, le=MOST_MICRO)
    kind: Literal["topup", "refund", "adjustment", "expiry"] = "topup"
    note: str = Field(default="", max_length=1000)
    idempotency_key: str = Field(default="", max_length=253, description="The same key adds the same entry once.")

    @model_validator(mode="after")
    def _sign(self) -> Self:
        if self.amount_micro == 0:
            raise ValueError("amount_micro is zero")
        if self.kind in {"topup", "refund"} and self.amount_micro < 0:
            raise ValueError(f"a {self.kind} is positive; an adjustment may be negative")
        if self.kind == "expiry" and self.amount_micro > 0:
            raise ValueError("an expiry is negative")
        return self


@router.post("", status_code=201)
async def add(new: NewCredit, peers: PeersDep) -> CreditEntryDocument:
    """Add one entry to a project's credit."""
    request = admin_pb2.AddCreditRequest(
        project=new.project,
        amount_micro=new.amount_micro,
        kind=new.kind,
        note=new.note,
        idempotency_key=new.idempotency_key,
        actor=ACTOR,
    )
    ask = peers.ask if new.idempotency_key else peers.ask_once
    return CreditEntryDocument.of(await ask(peers.admin.AddCredit, request))


@router.get("")
async def list_newest(
    project: Annotated[str, Query(min_length=1)],
    peers: PeersDep,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> CreditDocument:
    """List a project's newest entries."""
    answer = await peers.ask(peers.admin.ListCredit, admin_pb2.ListCreditRequest(project=project, limit=limit))
    entries = [CreditEntryDocument.of(entry) for entry in answer.entries]
    return CreditDocument(project=project, balance_micro=answer.balance_micro, entries=entries)
