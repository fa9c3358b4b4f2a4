"""Who changed what: one row per administrative act, in the act's own transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from penstock_auth.tables import audit

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. `subject` is a name or a public id, never a secret."""

    id: int
    created_at_ms: int
    actor: str
    action: str
    subject: str


def note(connection: Connection, actor: str, action: str, subject: str, now_ms: int) -> None:
    """Write one act down; texts are cut to what the table holds."""
    connection.execute(
        insert(audit).values(
            created_at_ms=now_ms,
            actor=actor.replace("\0", "?")[:128],
            action=action,
            subject=subject.replace("\0", "?")[:253],
        )
    )


def list_audit(connection: Connection, limit: int) -> list[AuditEntry]:
    """Return the newest acts, newest first."""
    rows = connection.execute(
        select(audit.c.id, audit.c.created_at_ms, audit.c.actor, audit.c.action, audit.c.subject)
        .order_by(audit.c.id.desc())
        .limit(limit)
    )
    return [AuditEntry(*row) for row in rows]
