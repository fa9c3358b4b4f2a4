"""Ids of tool calls as providers know calls by them: no two alike. Some servers begin anew with each turn."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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


class FreeIds:
    """Ids that nobody has yet."""

    __slots__ = ("_numbers", "_taken")

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._numbers: dict[str, int] = {}
        """The last number behind each id: looking for the next one begins there, however many are taken."""

    def take(self, given: str) -> str:
        """Return the given id, or that with a number where it is taken."""
        chosen = given
        while chosen in self._taken:
            number = self._numbers[given] = self._numbers.get(given, 1) + 1
            chosen = f"{given}_{number}"
        self._taken.add(chosen)
        return chosen


class _Renaming:
    """Walks through one conversation."""

    def __init__(self) -> None:
        self._free = FreeIds()
        self._open: defaultdict[str, deque[str]] = defaultdict(deque)
        """What calls of the newest turn are called now that have no result, by the id that they came with."""

    def messages(self, messages: list[Json]) -> list[Json]:
        kept = []
        for message in messages:
            if message["role"] == "assistant":
                self._open.clear()
            kept.append({**message, "content": [self._block(block) for block in message["content"]]})
        return kept

    def _block(self, block: Json) -> Json:
        if block["type"] == "tool_use":
            return self._call(block)
        if block["type"] != "tool_result":
            return block
        known = self._open.get(block["tool_use_id"])
        return {**block, "tool_use_id": known.popleft()} if known else block

    def _call(self, block: Json) -> Json:
        chosen = self._free.take(block["id"])
        self._open[block["id"]].append(chosen)
        return {**block, "id": chosen}
