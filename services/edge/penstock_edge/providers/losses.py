"""Names what of a canonical request a wire format has no place for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.notes import Notes

BLOCKS: Final = {
    "text": frozenset({"type", "text", "cache_control"}),
    "image": frozenset({"type", "source", "cache_control"}),
    "document": frozenset({"type", "source", "title", "cache_control"}),
    "tool_use": frozenset({"type", "id", "name", "input", "cache_control"}),
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"}),
}
"""What of each kind of block other formats than Messages have a place for, or list by itself."""
THINKING: Final = frozenset({"type", "budget_tokens", "display"})
"""What of `thinking` other models than Claude's can be told too."""
# A tuple, because what is looked for may be of any type. Claude writes on every call who made it, mostly itself.
_NOTHING: Final[tuple[object, ...]] = (None, False, [], {}, {"enabled": False}, {"type": "direct"})


def asks_nothing(value: object) -> bool:
    """Whether nothing is lost with the value of a field."""
    return value in _NOTHING


def note_lost(ignored: Notes, where: str, holder: Json, carried: frozenset[str]) -> None:
    """List once what something says beyond what is carried, unless it asks for nothing."""
    if not holder.keys() <= carried:
        for loss in lost(where, holder, carried):
            ignored.once(loss)


def lost(where: str, holder: Json, carried: frozenset[str]) -> list[str]:
    """Return what something says beyond what is carried, unless it asks for nothing."""
    return [f"{where}.{name[:64]}" for name, value in holder.items() if name not in carried and not asks_nothing(value)]
