"""How providers count: three ways to run the same limits.

* Anthropic: requests, input and output tokens per model, each a bucket of a minute. Input that is read from the prompt
  cache does not count against input; output counts as it is produced. Requests may also be enforced over shorter spans
  ("60 requests per minute may be enforced as 1 request per second"). `retry-after` in whole seconds; headers tell limit,
  remaining (tokens rounded to thousands) and reset. (Docs: API, rate limits.)
* OpenAI: requests and tokens per model. A request is counted when it comes, with its prompt, cached or not, and its
  `max_tokens`; limits may be enforced over shorter spans. Headers `x-ratelimit-*`. (Docs: rate limits.)
* Gemini: requests and input tokens per model, cached or not. No headers; a 429 carries `RetryInfo`. (Docs: rate limits.)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Manner:
    """One provider's way of counting."""

    provider: str
    cached_input_counts: bool
    output_limited: bool
    """Output has a limit of its own, drained as it is produced."""
    reserves_max_tokens: bool
    """A request takes its `max_tokens` from the input's bucket at the start."""
    headers: bool
    request_burst_seconds: float
    cached_price: float
    """Price of a cached token read, as a part of the plain price."""
    written_price: float
    """Price of a token written to the cache, likewise."""


ANTHROPIC = Manner("Anthropic", False, True, False, True, 1.0, 0.1, 1.25)
OPENAI = Manner("OpenAI", True, False, True, True, 1.0, 0.1, 1.0)
GEMINI = Manner("Gemini", True, False, False, False, 60.0, 0.1, 1.0)
MANNERS = {manner.provider: manner for manner in (ANTHROPIC, OPENAI, GEMINI)}


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """Limits per minute of one model at one account. `output` is ignored where output has no limit."""

    requests: int
    input: int
    output: int

    def scaled(self, factor: float) -> ModelLimits:
        """Return these limits times a factor."""
        return ModelLimits(int(self.requests * factor), int(self.input * factor), int(self.output * factor))
