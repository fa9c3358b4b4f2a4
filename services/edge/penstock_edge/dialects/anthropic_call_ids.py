"""Ids of an answer's calls as clients of the Messages format take them: by these alone they know results from calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_edge.providers.anthropic_call_ids import FreeIds, call_ids
from penstock_edge.providers.anthropic_turns import sound_id

if TYPE_CHECKING:
    from penstock_edge.canonical import Json


class CallIds:
    """Those of one answer: no earlier call of the conversation has any of them, whatever the upstream says."""

    __slots__ = ("_free", "_messages")

    def __init__(self, messages: list[Json]) -> None:
        self._messages = messages
        self._free: FreeIds | None = None

    def renamed(self, call: Json) -> Json:
        """Return the answer's next call under an id of its own."""
        if self._free is None:
            self._free = FreeIds(call_ids(self._messages))
        return {**call, "id": self._free.take(sound_id(call["id"]))}
