"""Which key a person means. What was given may be a key's text, so it is never sent: its id is worked out here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_catalog import api_key
from penstock_cli.errors import CommandError, NotFoundError

if TYPE_CHECKING:
    from penstock_cli.admin import Admin

_NOT_ONE = (
    "this is not the id of a key, nor what `penstock keys list` shows as its prefix; nothing of it was sent. "
    "If it is a whole key, it is mistyped or not complete: give its id alone"
)


def key_id(text: str) -> str:
    """Return the id in an id, a shown prefix or a whole key. Raises NotFoundError, which does not repeat the text."""
    found = api_key.meant_id(text)
    if not found:
        raise NotFoundError(_NOT_ONE)
    return found


def key_id_or_name(admin: Admin, text: str) -> str:
    """Return the id of a key by the same, or by its name, which is looked for here. Raises CommandError."""
    found = api_key.meant_id(text)
    if found and (found == text or api_key.public_id(text)):
        return found
    named = [str(key["id"]) for key in admin.get("keys") if key["name"] == text] if text else []
    if len(named) > 1:
        raise CommandError(f"{len(named)} keys bear this name; give the id of one, which `penstock keys list` shows")
    if not named and not found:
        raise NotFoundError(f"no key has this name, and {_NOT_ONE}")
    return named[0] if named else found
