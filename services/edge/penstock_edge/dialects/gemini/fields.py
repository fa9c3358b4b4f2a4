"""The fields that the gateway reads of a Gemini request; everything else passes unread."""

from __future__ import annotations

from typing import Final

import msgspec

_EMPTY: Final = msgspec.Raw(b"")

Number = int | float | str | None


class Config(msgspec.Struct):
    """`generationConfig`, under either name of its fields."""

    camel: Number = msgspec.field(default=None, name="maxOutputTokens")
    snake: Number = msgspec.field(default=None, name="max_output_tokens")


class Body(msgspec.Struct):
    """A request."""

    contents: list[msgspec.Raw] | dict[str, msgspec.Raw] | None = None
    tools: msgspec.Raw = _EMPTY
    system: msgspec.Raw = msgspec.field(default=_EMPTY, name="systemInstruction")
    system_snake: msgspec.Raw = msgspec.field(default=_EMPTY, name="system_instruction")
    config: Config | None = msgspec.field(default=None, name="generationConfig")
    config_snake: Config | None = msgspec.field(default=None, name="generation_config")


class Count(Body):
    """A countTokens request, which may hold a whole one."""

    whole: Body | None = msgspec.field(default=None, name="generateContentRequest")
    whole_snake: Body | None = msgspec.field(default=None, name="generate_content_request")


read_body: Final = msgspec.json.Decoder(Body).decode
read_count: Final = msgspec.json.Decoder(Count).decode
