"""Marks of what is to be cached: other formats may set as many as they like, of which the latest count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

_MARK: Final = "cache_control"


def with_latest_marks(body: Json, most: int) -> tuple[Json, bool]:
    """Return a Messages request with no more than so many marks, and whether it had more; never changes `body`."""
    left = most
    kept = dict(body)
    # In the order of a prompt, from its end.
    for name in ("messages", "system", "tools"):
        if name in body:
            kept[name], left = _latest(body[name], left)
    return kept, left < 0


def _latest(items: list[Any], left: int) -> tuple[list[Any], int]:
    kept = []
    for item in reversed(items):
        marked = item
        if isinstance(item, dict):
            inner = item.get("content")
            if item.get(_MARK) is not None:
                if left <= 0:
                    marked = {name: value for name, value in item.items() if name != _MARK}
                left -= 1
            if isinstance(inner, list):
                content, left = _latest(inner, left)
                marked = {**marked, "content": content}
        kept.append(marked)
    kept.reverse()
    return kept, left
