"""The fields that the gateway reads of a Messages request; everything else passes unread."""

from __future__ import annotations

from typing import Final

import msgspec

EMPTY: Final = msgspec.Raw(b"")


class Metadata(msgspec.Struct):
    """`metadata` of a request."""

    user_id: str | None = None


class CountBody(msgspec.Struct):
    """What the gateway reads of a count_tokens request; everything else passes unread."""

    model: str
    messages: list[msgspec.Raw]
    system: msgspec.Raw = EMPTY
    tools: msgspec.Raw = EMPTY
    stream: bool | None = None
    max_tokens: int = 0
    metadata: Metadata | None = None


class MessagesBody(msgspec.Struct):
    """What the gateway reads of a Messages request; everything else passes unread."""

    model: str
    max_tokens: int
    messages: list[msgspec.Raw]
    system: msgspec.Raw = EMPTY
    tools: msgspec.Raw = EMPTY
    stream: bool | None = None
    metadata: Metadata | None = None


read_messages: Final = msgspec.json.Decoder(MessagesBody).decode
read_count: Final = msgspec.json.Decoder(CountBody).decode
