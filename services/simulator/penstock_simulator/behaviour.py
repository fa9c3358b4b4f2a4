"""What one request will meet: pace, size and fault, gathered from rules, headers, the model's name and the prompt."""

from __future__ import annotations

import json
import re
import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(us|ms|s|m)?")
_DIRECTIVE = re.compile(r"\[\[sim:(.*?)\]\]", re.DOTALL)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, None: 1.0}
_STATUS = re.compile(r"[45]\d\d")


class Fault(StrEnum):
    """Faults with a name; `400` to `599` are faults too: that status with its usual error body."""

    NONE = ""
    CREDIT = "credit"
    """The error of an account without money: Anthropic's 400 "Your credit balance is too low", the others' 429."""
    HTML = "html"
    """`status` (502) with a page of HTML."""
    NOT_JSON = "not_json"
    """200 with a body that is no JSON, nor events."""
    STREAM_ERROR_BEFORE = "stream_error_before"
    """An `error` event after the opening, before any content. Without `stream`: the same error as a status."""
    STREAM_ERROR_AFTER = "stream_error_after"
    """An `error` event after `after` (3) deltas. Without `stream`: the same error as a status."""
    CUT_BEFORE_HEADERS = "cut_before_headers"
    CUT_AFTER_HEADERS = "cut_after_headers"
    CUT_MID_STREAM = "cut_mid_stream"
    """Closed between two events after `after` (3) deltas (0: after the opening); without `stream` within the body."""
    CUT_MID_CHUNK = "cut_mid_chunk"
    """The same, but half of the next event has gone out."""
    END_EARLY = "end_early"
    """After `after` (3) deltas the body ends in due form, without what has to come at the end."""
    SILENCE = "silence"
    """Accepts the request and never answers."""
    SILENCE_AFTER_HEADERS = "silence_after_headers"
    SILENCE_MID_STREAM = "silence_mid_stream"
    """Goes silent after `after` (3) deltas (0: after the opening)."""
    LENGTH_LONG = "length_long"
    """content-length says more than is sent; then the connection ends."""
    LENGTH_SHORT = "length_short"
    """content-length says less than is sent."""


class Behaviour(msgspec.Struct, frozen=True):
    """Everything that can be asked for; durations in seconds."""

    fault: str = ""
    status: int = 0
    error: str = ""
    """Error type of a stream error (overloaded_error), or of a status instead of its usual one."""
    message: str = ""
    """Error text instead of the usual one."""
    retry_after: str = ""
    """`7`: seconds; `date:7`: an HTTP date that many seconds ahead; empty: no hint."""
    after: int = 3
    reset: bool = False
    """Cut with RST instead of FIN."""
    hangup: bool = False
    """After a whole answer close the connection without having announced it."""
    latency: float = 0.0
    """Before the first byte."""
    stall: float = 0.0
    """Between message_start and the first content."""
    pace: float = 0.0
    """Before each delta."""
    drip: float = 0.0
    """Between single bytes of the body; 0: whole writes."""
    split: bool = False
    """Write so that multi-byte characters and line ends fall on two TCP segments."""
    tokens: int = -1
    """Output tokens; -1: some, depending on the request."""
    chunks: int = 0
    """Deltas of the text block; 0: one for each 24 characters."""
    thinking: int = -1
    """Thinking tokens, where the request allows thinking; -1: 32, or by the effort that is asked for."""
    text: str = "ascii"
    """ascii or unicode (multi-byte characters, U+2028, U+2029, U+0085)."""
    say: str = ""
    """Exactly this text."""
    tool: str = ""
    """Call this tool (`*`: the first one) though tool_choice is auto."""
    tools: int = 1
    """How many calls."""
    tool_input: str = ""
    """Exactly this input for the tool: a JSON object."""
    tool_bytes: int = 0
    """Size of the tool's input; bounded by max_tokens."""
    image_bytes: int = 0
    """Size of an image of a model that makes images; 0: as small as can be."""
    stop: str = ""
    """This stop_reason or finish_reason; OpenAI: also refusal, failed (Responses)."""
    pings: int = 0
    """Pings between message_start and the first content, `pace` apart."""
    usage: str = "full"
    """full, or output (Anthropic): what the closing usage tells. OpenAI: none, or last_choice (a chat's last chunk)."""
    usage_updates: int = 0
    """Additional message_delta events with the usage so far; chats: so many deltas carry it."""
    done: bool = True
    """Chats end with [DONE]."""
    interleave: bool = False
    """Parallel tool calls of a chat's stream take turns."""
    seed: int = 0
    """Changes the text."""


class DirectiveError(ValueError):
    """A directive names something that does not exist, or gives it a value that it cannot have."""


def duration(value: object) -> float:
    """Seconds of `200ms`, `1.5s`, `2m`, `3` or a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = _DURATION.fullmatch(str(value))
    if found is None:
        raise ValueError(f"not a duration: {value!r}")
    return float(found[1]) * _UNITS[found[2]]


def _flag(value: object) -> bool:
    text = str(value).lower()
    if text not in {"1", "true", "yes", "0", "false", "no"}:
        raise ValueError(f"not true or false: {value!r}")
    return text in {"1", "true", "yes"}


def _fault(value: object) -> str:
    text = str(value)
    if not _STATUS.fullmatch(text) and text not in Fault.__members__.values():
        raise ValueError(f"no such fault: {value!r}")
    return text


def _one_of(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"not one of {', '.join(allowed)}: {value!r}")
        return str(value)

    return read


def _json_object(value: object) -> str:
    document = value if isinstance(value, dict) else json.loads(str(value))
    if not isinstance(document, dict):
        raise TypeError(f"not a JSON object: {value!r}")
    return json.dumps(document, ensure_ascii=False)


_PLAIN_READERS: dict[type, Callable[[Any], Any]] = {int: int, str: str, bool: _flag, float: duration}
_READ: dict[str, Callable[[Any], Any]] = {
    **{field.name: _PLAIN_READERS[type(field.default)] for field in msgspec.structs.fields(Behaviour)},
    "fault": _fault,
    "tool_input": _json_object,
    "text": _one_of("ascii", "unicode"),
    "usage": _one_of("full", "output", "none", "last_choice"),
}

PLAIN = Behaviour()


def read_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Turn given values into a Behaviour's; raises DirectiveError."""
    result = {}
    for name, value in fields.items():
        if name not in _READ:
            raise DirectiveError(f"{name}: no such directive")
        try:
            result[name] = _READ[name](value)
        except (ValueError, TypeError) as error:
            raise DirectiveError(f"{name}: {error}") from error
    return result


def behaviour(parts: Iterable[dict[str, Any]]) -> Behaviour:
    """Put read fields together; later parts win."""
    merged: dict[str, Any] = {}
    for part in parts:
        merged.update(part)
    return Behaviour(**merged) if merged else PLAIN


def parse(text: str) -> dict[str, str]:
    """Read `latency=200ms fault=529 say="two words"`; a bare word is true. Commas and semicolons separate too."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace += ",;"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise DirectiveError(str(error)) from error
    return {name: value if equals else "true" for name, equals, value in (word.partition("=") for word in words)}


def directives(prompt: str) -> list[str]:
    """Return the inside of every `[[sim: ...]]` in a text, in order."""
    return _DIRECTIVE.findall(prompt) if "[[sim:" in prompt else []
