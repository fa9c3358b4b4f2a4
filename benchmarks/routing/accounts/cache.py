"""An account's prompt cache: prefixes by content, five minutes from their last use.

Anthropic and OpenAI keep caches by organisation; another account never has what this one has seen. An entry can be read
once the answer of the request that wrote it has begun. A conversation's prompt starts with what its project's requests
all start with (tools, system), so that a new conversation finds at least that where the project was served lately.
"""

from __future__ import annotations

TTL_SECONDS = 300.0
LEAST_TOKENS = 1024
_SWEEP = 20_000


class PromptCache:
    """What one account remembers."""

    __slots__ = ("_entries", "_ttl")

    def __init__(self, ttl: float = TTL_SECONDS) -> None:
        self._entries: dict[tuple[str, str], tuple[int, float]] = {}
        self._ttl = ttl

    def found(self, model: str, session: str, prefix: str, prefix_tokens: int, now: float) -> int:
        """Return how many tokens of a prompt it has."""
        if session:
            tokens, used = self._entries.get((model, session), (0, -self._ttl))
            if tokens and now - used < self._ttl:
                return tokens
        if prefix and prefix_tokens >= LEAST_TOKENS:
            tokens, used = self._entries.get((model, prefix), (0, -self._ttl))
            if tokens and now - used < self._ttl:
                return min(tokens, prefix_tokens)
        return 0

    def written(self, model: str, session: str, prefix: str, prefix_tokens: int, tokens: int, now: float) -> None:
        """Remember a prompt of `tokens`, and use its prefix anew."""
        if session and tokens >= LEAST_TOKENS:
            self._entries[model, session] = (tokens, now)
        if prefix and prefix_tokens >= LEAST_TOKENS:
            self._entries[model, prefix] = (prefix_tokens, now)
        if len(self._entries) > _SWEEP:
            self._entries = {key: item for key, item in self._entries.items() if now - item[1] < self._ttl}

    def forget(self) -> None:
        """Lose everything."""
        self._entries.clear()
