"""The fields that the gateway reads of a chat request; everything else passes unread."""

from __future__ import annotations

from typing import Final

import msgspec

_EMPTY = msgspec.Raw(b"")


class Metadata(msgspec.Struct):
    """`metadata`."""

    user_id: str | None = None


class Body(msgspec.Struct):
    """A request."""

    model: str
    messages: list[msgspec.Raw]
    stream: bool | None = None
    stream_options: msgspec.Raw = _EMPTY
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: msgspec.Raw = _EMPTY
    prompt_cache_key: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: Metadata | None = None


class Options(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class Role(msgspec.Struct):
    """Whose message it is."""

    role: str


read_body: Final = msgspec.json.Decoder(Body).decode
read_options: Final = msgspec.json.Decoder(Options).decode
read_role: Final = msgspec.json.Decoder(Role).decode
