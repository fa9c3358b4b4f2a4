"""The fields that the gateway reads of answers of chat.completions that pass untouched."""

from __future__ import annotations

from typing import Any, Final

import msgspec


class Answer(msgspec.Struct):
    """A unary answer."""

    choices: list[msgspec.Raw]
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Function(msgspec.Struct):
    """A function that is called."""

    arguments: str | None = None


class Call(msgspec.Struct):
    """More of a tool call."""

    function: Function | None = None


class Delta(msgspec.Struct):
    """What a choice grows by."""

    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Call] | None = None
    images: list[msgspec.Raw] | None = None


class Choice(msgspec.Struct):
    """One of the answers that were asked for."""

    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """Any event of a stream."""

    choices: list[Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Odd(msgspec.Struct):
    """A chunk whose choices are not as known."""

    choices: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Kind(msgspec.Struct):
    """What something without choices calls itself."""

    object: str | None = None


class PromptDetails(msgspec.Struct):
    """What of a prompt a cache gave or took."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None


class CompletionDetails(msgspec.Struct):
    """What of a completion nobody sees."""

    reasoning_tokens: int | None = None


class Usage(msgspec.Struct):
    """`usage`, as OpenAI and its many imitators write it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    # Where DeepSeek and Moonshot count what came from a cache.
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None


class Figures(msgspec.Struct):
    """The two figures that matter, of a `usage` whose details are not as known."""

    prompt_tokens: Any = None
    completion_tokens: Any = None


read_whole: Final = msgspec.json.Decoder(Answer).decode
read_chunk: Final = msgspec.json.Decoder(Chunk).decode
read_odd: Final = msgspec.json.Decoder(Odd).decode
read_kind: Final = msgspec.json.Decoder(Kind).decode
read_usage: Final = msgspec.json.Decoder(Usage).decode
read_figures: Final = msgspec.json.Decoder(Figures).decode
