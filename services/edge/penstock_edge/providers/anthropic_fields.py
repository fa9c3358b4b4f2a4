"""The fields that the gateway reads of answers in the Messages format that pass untouched."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock_edge.usage_report import UsageReport


class Answer(msgspec.Struct):
    """A unary answer."""

    usage: UsageReport | None = None
    type: str | None = None


class Delta(msgspec.Struct):
    """What a block grows by, of whatever kind it is."""

    text: str = ""
    partial_json: str = ""
    thinking: str = ""


class Message(msgspec.Struct):
    """What a stream begins with."""

    usage: UsageReport | None = None


class Event(msgspec.Struct):
    """Any event of a stream."""

    type: str
    delta: Delta | None = None
    message: Message | None = None
    usage: UsageReport | None = None


class Deltas(msgspec.Struct):
    """An event as far as most of them go."""

    type: str
    delta: Delta | None = None


class Named(msgspec.Struct):
    """An event of which no more than its name is as known."""

    type: str


read_whole: Final = msgspec.json.Decoder(Answer).decode
read_delta: Final = msgspec.json.Decoder(Deltas).decode
read_event: Final = msgspec.json.Decoder(Event).decode
read_name: Final = msgspec.json.Decoder(Named).decode
