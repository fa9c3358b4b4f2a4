"""Token counts of an answer, as Chat Completions and Responses tell them and as the record keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from penstock_simulator import text
from penstock_simulator.records import Usage

if TYPE_CHECKING:
    from penstock_simulator.openai.reply import Reply


class Counts(NamedTuple):
    """What one answer costs."""

    whole: int
    """Input, read from the cache or not."""
    cached: int
    output: int
    reasoning: int

    @classmethod
    def of(cls, whole: int, cached: int, replies: list[Reply]) -> Counts:
        """Return the counts of an answer with these choices."""
        output = text.tokens(sum(reply.chars for reply in replies))
        return cls(whole, cached, output, sum(reply.reasoning_tokens for reply in replies))

    def told(self) -> Usage:
        """Return what a body or an event tells, for the record."""
        return Usage(self.whole - self.cached, self.output, self.cached)

    def chat(self) -> dict[str, Any]:
        """Return the usage of a chat completion."""
        return {
            "prompt_tokens": self.whole,
            "completion_tokens": self.output,
            "total_tokens": self.whole + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": 0, "cache_write_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def responses(self) -> dict[str, Any]:
        """Return the usage of a response."""
        return {
            "input_tokens": self.whole,
            "input_tokens_details": {"cached_tokens": self.cached, "cache_write_tokens": 0},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.whole + self.output,
        }
