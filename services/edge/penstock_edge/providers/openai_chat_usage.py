"""`usage` of chat.completions and embeddings, as OpenAI and its many imitators write it, in canonical figures."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from penstock_edge.usage import OutputDetails, UsageReport

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""All that a msgspec decoder may raise."""


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    # Where DeepSeek and Moonshot count what came from a cache.
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None


class _Figures(msgspec.Struct):
    prompt_tokens: Any = None
    completion_tokens: Any = None


_usage = msgspec.json.Decoder(_Usage)
_figures = msgspec.json.Decoder(_Figures)


def report_of(raw: bytes | msgspec.Raw) -> UsageReport | None:
    """Return what a `usage` object says; None for none at all, or one without a figure."""
    data = bytes(raw)
    if not data or data == b"null":
        return None
    try:
        usage = _usage.decode(data)
    except UNREADABLE:
        usage = _plain(data)
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    return _report(usage)


def _plain(data: bytes) -> _Usage:
    """Read the two figures that matter of a usage object whose details are not as known."""
    try:
        found = _figures.decode(data)
    except UNREADABLE:
        return _Usage()
    prompt, completion = found.prompt_tokens, found.completion_tokens
    return _Usage(
        prompt_tokens=prompt if type(prompt) is int else None,
        completion_tokens=completion if type(completion) is int else None,
    )


def _report(usage: _Usage) -> UsageReport:
    details = usage.prompt_tokens_details or _PromptDetails()
    read = details.cached_tokens or usage.prompt_cache_hit_tokens or usage.cached_tokens or 0
    written = details.cache_write_tokens or details.cache_creation_tokens or 0
    thought = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None
    prompt, output = usage.prompt_tokens or 0, usage.completion_tokens
    # Some count what was thought beside the completion, which only the total shows.
    if thought and output is not None and usage.total_tokens == prompt + output + thought:
        output += thought
    return UsageReport(
        input_tokens=None if usage.prompt_tokens is None else max(0, prompt - read - written),
        output_tokens=output,
        cache_creation_input_tokens=written,
        cache_read_input_tokens=read,
        output_tokens_details=None if thought is None else OutputDetails(thought),
    )
