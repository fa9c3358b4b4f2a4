"""Ids of an answer's calls as clients of the Messages format take them: by these alone they know results from calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_edge.providers.anthropic_call_ids import call_ids, free_id
from penstock_edge.providers.anthropic_turns import sound_id

if TYPE_CHECKING:
    from penstock_edge.canonical import Json


class CallIds:
    """Those of one answer: no earlier call of the conversation has any of them, whatever the upstream says."""

    __slots__ = ("_messages", "_taken")

    def __init__(self, messages: list[Json]) -> None:
        self._messages = messages
        self._taken: set[str] | None = None

    def renamed(self, call: Json) -> Json:
        """Return the answer's next call under an id of its own."""
        if self._taken is None:
            self._taken = set(call_ids(self._messages))
        chosen = free_id(sound_id(call["id"]), self._taken)
        self._taken.add(chosen)
        return {**call, "id": chosen}
