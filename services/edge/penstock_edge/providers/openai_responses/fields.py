"""The fields that the gateway reads of Responses streams that pass untouched."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from penstock_edge.providers.openai_responses.output import Fault, Usage


class Response(msgspec.Struct):
    """What a response says of itself at its end."""

    id: Any = None
    usage: Usage | None = None
    error: Fault | None = None


class Event(msgspec.Struct):
    """Any event of a stream."""

    type: str
    delta: str = ""


class Named(msgspec.Struct):
    """An event of which no more than its name is as known."""

    type: str


class Ending(msgspec.Struct):
    """The last event."""

    response: Response = msgspec.field(default_factory=Response)


class Told(Fault):
    """An `error` event: the error stands in it bare, or as a member."""

    error: Fault | None = None


read_event: Final = msgspec.json.Decoder(Event).decode
read_name: Final = msgspec.json.Decoder(Named).decode
read_ending: Final = msgspec.json.Decoder(Ending).decode
read_error: Final = msgspec.json.Decoder(Told).decode
