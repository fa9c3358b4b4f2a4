"""How OpenAI's clients ask for a prompt cache: there it works by itself, elsewhere it must be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.canonical import Json

BREAKPOINT: Final = "prompt_cache_breakpoint"

CACHE_OPTIONS: Final[tuple[object, ...]] = ({}, {"mode": "implicit"}, {"mode": "explicit"})
"""Options that are carried whole, or ask for what happens anyway."""
CACHE_RETENTIONS: Final[tuple[object, ...]] = ("in_memory", "in-memory")


def note_lifetime(part: Json, note: Callable[[str], None]) -> None:
    """List how long a part asks to be cached: elsewhere there are other lifetimes, of other prices."""
    point = part.get(BREAKPOINT)
    if isinstance(point, dict) and point.get("ttl") is not None:
        note(f"{BREAKPOINT}.ttl")


def wants_cache(document: Json) -> bool:
    """Whether a client that names its conversation counts on finding its beginning cached in the next turn.

    Not one that sets every mark itself.
    """
    options = document.get("prompt_cache_options")
    explicit = isinstance(options, dict) and options.get("mode") == "explicit"
    return bool(document.get("prompt_cache_key")) and not explicit
