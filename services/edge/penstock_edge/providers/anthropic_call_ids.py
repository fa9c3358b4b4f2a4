"""Ids of tool calls as Claude takes them: no two in a conversation alike. Some servers number each turn's anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from penstock_edge.canonical import Json


def distinct(messages: list[Json]) -> list[Json]:
    """Return the messages with another id for each call whose id an earlier one has, never changing them.

    Made of the calls before it alone, so that it is the same in every turn to come.
    """
    ids = call_ids(messages)
    return messages if len(ids) == len(set(ids)) else _Renaming().messages(messages)


def call_ids(messages: list[Json]) -> list[str]:
    """Return the ids of all calls, in order."""
    return [
        block["id"]
        for message in messages
        if message["role"] == "assistant"
        for block in message["content"]
        if block["type"] == "tool_use"
    ]


def free_id(given: str, taken: Collection[str], since: int = 2) -> str:
    """Return an id that is not taken: the given one, or that with a number from `since` on."""
    chosen = given
    while chosen in taken:
        chosen = f"{given}_{since}"
        since += 1
    return chosen


class _Renaming:
    """Walks through one conversation."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._times: dict[str, int] = {}
        self._open: dict[str, list[str]] = {}
        """What calls without a result are called now, by the id that they came with."""

    def messages(self, messages: list[Json]) -> list[Json]:
        return [{**message, "content": [self._block(block) for block in message["content"]]} for message in messages]

    def _block(self, block: Json) -> Json:
        if block["type"] == "tool_use":
            return self._call(block)
        if block["type"] != "tool_result":
            return block
        known = self._open.get(block["tool_use_id"])
        return {**block, "tool_use_id": known.pop(0)} if known else block

    def _call(self, block: Json) -> Json:
        given: str = block["id"]
        times = self._times[given] = self._times.get(given, 0) + 1
        chosen = free_id(given, self._taken, max(times, 2))
        self._taken.add(chosen)
        self._open.setdefault(given, []).append(chosen)
        return {**block, "id": chosen}
