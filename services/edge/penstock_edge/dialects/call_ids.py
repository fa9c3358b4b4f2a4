"""Ids of an answer's calls: by these alone clients of Messages and Responses know which result is whose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_edge.providers.call_ids import FreeIds, call_ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.canonical import Json


class CallIds:
    """Those of one answer: no earlier call of the conversation has any of them, whatever the upstream says."""

    __slots__ = ("_free", "_messages", "_sound")

    def __init__(self, messages: list[Json], sound: Callable[[str], str] = str) -> None:
        """`sound` returns an id that the client takes for the upstream's."""
        self._messages = messages
        self._sound = sound
        self._free: FreeIds | None = None

    def renamed(self, call: Json) -> Json:
        """Return the answer's next call under an id of its own."""
        if self._free is None:
            self._free = FreeIds(call_ids(self._messages))
        return {**call, "id": self._free.take(self._sound(call["id"]))}
