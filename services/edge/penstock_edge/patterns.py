"""What is the same in many messages of one kind: serialized once for each group of messages that are alike in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message

_MOST: Final = 2048


class Patterns:
    """Serialized parts of messages, by what they were made of; all are forgotten when there are too many."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], bytes] = {}

    def get(self, group: tuple[object, ...]) -> bytes | None:
        """Return the pattern of a group, if it is known."""
        return self._known.get(group)

    def keep(self, group: tuple[object, ...], message: Message) -> bytes:
        """Make a message the pattern of a group, and return it."""
        if len(self._known) >= _MOST:
            self._known.clear()
        pattern = self._known[group] = message.SerializeToString()
        return pattern
