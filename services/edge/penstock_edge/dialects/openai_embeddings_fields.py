"""The fields that the gateway reads of a request for embeddings; everything else passes unread."""

from __future__ import annotations

from typing import Final

import msgspec


class Body(msgspec.Struct):
    """A request."""

    model: str
    input: msgspec.Raw
    user: str | None = None


read_body: Final = msgspec.json.Decoder(Body).decode
