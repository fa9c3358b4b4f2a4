"""/admin/v1/audit: who changed what."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from penstock.auth.v1 import admin_pb2
from penstock_status import moments
from penstock_status.api.access import PeersDep

router = APIRouter(prefix="/audit", tags=["audit"])


class AuditDocument(BaseModel):
    """One change."""

    id: int
    created_at: datetime
    actor: str
    action: str
    subject: str


@router.get("")
async def list_newest(peers: PeersDep, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> list[AuditDocument]:
    """List the newest changes."""
    answer = await peers.ask(peers.admin.ListAudit, admin_pb2.ListAuditRequest(limit=limit))
    return [
        AuditDocument(
            id=entry.id,
            created_at=moments.of_ms(entry.created_at_ms),
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
        )
        for entry in answer.entries
    ]
