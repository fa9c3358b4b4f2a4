"""The fields that the gateway reads of errors in OpenAI's formats."""

from __future__ import annotations

from typing import Final

import msgspec


class Error(msgspec.Struct):
    """An error object. Compatible servers write numbers as codes, and anything at all elsewhere."""

    message: object = None
    type: object = None
    code: object = None

    @property
    def words(self) -> str:
        """The message, "" without one."""
        return self.message if isinstance(self.message, str) else ""

    @property
    def names(self) -> frozenset[str]:
        """Type and code, as far as they are texts."""
        return frozenset(name for name in (self.type, self.code) if isinstance(name, str))


class Envelope(msgspec.Struct):
    """What stands around it, or a bare one: some servers put its members there."""

    # Not `Raw | None`: msgspec would then refuse everything but null.
    error: msgspec.Raw = msgspec.Raw()
    message: object = None
    type: object = None
    code: object = None
    detail: object = None


read_envelope: Final = msgspec.json.Decoder(Envelope).decode
read_error: Final = msgspec.json.Decoder(Error).decode
read_text: Final = msgspec.json.Decoder(str).decode
