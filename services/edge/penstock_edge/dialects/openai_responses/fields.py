"""The fields that the gateway reads of a Responses request; everything else passes unread."""

from __future__ import annotations

from typing import Final

import msgspec

_EMPTY: Final = msgspec.Raw(b"")


class Metadata(msgspec.Struct):
    """`metadata`."""

    user_id: str | None = None


class Body(msgspec.Struct):
    """A request."""

    model: str
    input: list[msgspec.Raw] | str | None = None
    instructions: msgspec.Raw = _EMPTY
    tools: msgspec.Raw = _EMPTY
    stream: bool | None = None
    max_output_tokens: int | None = None
    prompt_cache_key: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: Metadata | None = None
    background: bool | None = None
    store: msgspec.Raw = _EMPTY
    include: msgspec.Raw = _EMPTY
    previous_response_id: msgspec.Raw = _EMPTY


class Item(msgspec.Struct):
    """An item of `input`."""

    role: str = ""
    type: str = ""


read_body: Final = msgspec.json.Decoder(Body).decode
read_item: Final = msgspec.json.Decoder(Item).decode
