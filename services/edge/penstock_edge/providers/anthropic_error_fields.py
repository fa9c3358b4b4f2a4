"""The fields that the gateway reads of errors in the Messages format."""

from __future__ import annotations

from typing import Final

import msgspec


class Error(msgspec.Struct):
    """An error object."""

    type: str = ""
    message: str = ""


class Envelope(msgspec.Struct):
    """What stands around it."""

    # Not `Raw | None`: msgspec would then refuse everything but null.
    error: msgspec.Raw = msgspec.Raw()


read_envelope: Final = msgspec.json.Decoder(Envelope).decode
read_error: Final = msgspec.json.Decoder(Error).decode
