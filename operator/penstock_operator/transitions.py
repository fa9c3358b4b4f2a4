"""Which changes of a status are news to a person. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from penstock_operator.conditions import ACCEPTED, REACHABLE, READY, RESOLVED_REFS, found
from penstock_operator.events import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TOLD_WHEN_FALSE: Final = (ACCEPTED, RESOLVED_REFS, REACHABLE)
# Ready is False for what people wanted, too.
_AS_WANTED: Final = frozenset({"Draining", "Disabled", "Revoked", "Expired"})


def events(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Event]:
    """Give the Events of a status that has been written over another."""
    for kind in _TOLD_WHEN_FALSE:
        was, now = found(before, kind), found(after, kind)
        if now.get("status") == "False" and (was.get("status"), was.get("reason")) != ("False", now.get("reason")):
            yield Event("Warning", str(now["reason"]), str(now["message"]))
    yield from _of_the_credential(before, after)
    yield from _of_readiness(found(before, READY), found(after, READY), after)


def _of_the_credential(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Event]:
    old, new = before.get("credentialHash"), after.get("credentialHash")
    if old and new and old != new:
        yield Event("Normal", "CredentialRotated", f"Credential {new} is in force in place of {old}")


def _of_readiness(was: Mapping[str, Any], now: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Event]:
    reason, message = str(now.get("reason", "")), str(now.get("message", ""))
    if now.get("status") == "True" and was.get("status") != "True":
        yield Event("Normal", "Ready", message or "It is ready")
    elif now.get("status") == "False" and (was.get("status"), was.get("reason")) != ("False", reason):
        if any(found(after, kind).get("reason") == reason for kind in _TOLD_WHEN_FALSE):
            return  # That has been told.
        yield Event("Normal" if reason in _AS_WANTED else "Warning", reason, message or "It is not ready")
