"""Usage as the Messages format writes it, into which all that upstreams say of usage is put."""

from __future__ import annotations

import msgspec


class CacheCreation(msgspec.Struct, omit_defaults=True):
    """Cache writes by their lifetime."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(msgspec.Struct, omit_defaults=True):
    """What the output figure includes."""

    thinking_tokens: int | None = None


class UsageReport(msgspec.Struct, omit_defaults=True):
    """`usage` as the Messages format writes it; a field that is absent or null says nothing."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
