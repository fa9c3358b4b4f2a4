"""`usage` of chat.completions and embeddings, as OpenAI and its many imitators write it, in canonical figures."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock_edge.providers.openai_chat_fields import PromptDetails, Usage, read_figures, read_usage
from penstock_edge.usage_report import OutputDetails, UsageReport

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""All that a msgspec decoder may raise."""


def report_of(raw: bytes | msgspec.Raw) -> UsageReport | None:
    """Return what a `usage` object says; None for none at all, or one without a figure."""
    data = bytes(raw)
    if not data or data == b"null":
        return None
    try:
        usage = read_usage(data)
    except UNREADABLE:
        usage = _plain(data)
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    return _report(usage)


def _plain(data: bytes) -> Usage:
    """Read the two figures that matter of a usage object whose details are not as known."""
    try:
        found = read_figures(data)
    except UNREADABLE:
        return Usage()
    prompt, completion = found.prompt_tokens, found.completion_tokens
    return Usage(
        prompt_tokens=prompt if type(prompt) is int else None,
        completion_tokens=completion if type(completion) is int else None,
    )


def _report(usage: Usage) -> UsageReport:
    details = usage.prompt_tokens_details or PromptDetails()
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
