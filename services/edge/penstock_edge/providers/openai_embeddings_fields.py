"""The fields that the gateway reads of an answer with embeddings; everything else passes unread."""

from __future__ import annotations

from typing import Final

import msgspec


class Answer(msgspec.Struct):
    """An answer."""

    data: msgspec.Raw
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


read_whole: Final = msgspec.json.Decoder(Answer).decode
