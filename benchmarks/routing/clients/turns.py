"""What clients send: conversations whose prompts grow turn by turn, and single requests of a batch.

An agent's prompt begins with its project's tools and system prompt, holds everything said so far, and grows by the
answer and by what the tools returned. Most turns follow at once (a tool ran), some after a person has read, a few after
a break that outlasts the cache. Sizes and lengths are log-normal: a few very long answers, tool results and sessions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

LONGEST_PROMPT = 180_000
MAX_TOKENS = 8_192


@dataclass(slots=True)
class Turn:
    """One request as it truly is. `session` names the conversation's content, whether or not the client names it."""

    project: str
    session: str
    named: bool
    model: str
    prefix: str
    prefix_tokens: int
    prompt_tokens: int
    output_tokens: int
    max_tokens: int
    stream: bool
    gap: float
    """Seconds from the end of the turn before."""


@dataclass(frozen=True, slots=True)
class Agents:
    """How the agents of a project work."""

    prefix_tokens: int = 14_000
    first_message: float = 1_500.0
    tool_result: float = 700.0
    tool_spread: float = 1.1
    output: float = 420.0
    output_spread: float = 0.9
    turns: float = 16.0
    turns_spread: float = 0.7
    tool_seconds: float = 3.0
    person_share: float = 0.14
    person_seconds: float = 45.0
    break_share: float = 0.01
    break_seconds: float = 700.0
    named_share: float = 0.7
    stream_share: float = 0.95

    def session(self, project: str, name: str, model: str, rng: Random) -> Iterator[Turn]:
        """Yield the turns of one conversation."""
        count = min(max(int(_log_normal(self.turns, self.turns_spread, rng)), 1), 80)
        named, stream = rng.random() < self.named_share, rng.random() < self.stream_share
        prompt = self.prefix_tokens + int(_log_normal(self.first_message, 0.8, rng))
        gap = 0.0
        for _ in range(count):
            if prompt > LONGEST_PROMPT:
                return
            output = min(max(int(_log_normal(self.output, self.output_spread, rng)), 5), MAX_TOKENS)
            yield Turn(
                project,
                name,
                named,
                model,
                f"{project}/{model}",
                self.prefix_tokens,
                prompt,
                output,
                MAX_TOKENS,
                stream,
                gap,
            )
            prompt += output + int(min(_log_normal(self.tool_result, self.tool_spread, rng), 40_000))
            gap = self._gap(rng)

    def _gap(self, rng: Random) -> float:
        kind = rng.random()
        if kind < self.break_share:
            return rng.expovariate(1 / self.break_seconds)
        if kind < self.break_share + self.person_share:
            return rng.expovariate(1 / self.person_seconds)
        return rng.expovariate(1 / self.tool_seconds)


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents sent through one after another: a common instruction, then a text of its own each; not streamed."""

    prefix_tokens: int = 3_000
    document: float = 3_000.0
    document_spread: float = 0.8
    output: float = 500.0
    output_spread: float = 0.6

    def session(self, project: str, name: str, model: str, rng: Random) -> Iterator[Turn]:
        """Yield the one request of one document."""
        prompt = self.prefix_tokens + int(min(_log_normal(self.document, self.document_spread, rng), 150_000))
        output = min(max(int(_log_normal(self.output, self.output_spread, rng)), 5), 4_096)
        yield Turn(
            project, name, False, model, f"{project}/{model}", self.prefix_tokens, prompt, output, 4_096, False, 0.0
        )


Way = Agents | Batch


def _log_normal(median: float, spread: float, rng: Random) -> float:
    return median * math.exp(rng.gauss(0.0, spread))
