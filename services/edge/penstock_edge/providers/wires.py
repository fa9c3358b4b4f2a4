"""Which wire format an account is spoken to in. One table; everything else asks it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from penstock_edge.providers import anthropic, gemini, openai_chat, openai_embeddings, openai_responses

if TYPE_CHECKING:
    from penstock_edge.providers.wire import Wire

PROVIDERS: Final = ("Anthropic", "OpenAI", "Gemini", "OpenAICompatible")
_COUNTING: Final = frozenset({"Anthropic", "OpenAI", "Gemini"})
_EMBEDDING: Final = frozenset({"OpenAI", "OpenAICompatible"})


def is_codex(model: str) -> bool:
    """Whether a model is one of those that OpenAI serves on /v1/responses alone."""
    return "codex" in model


def wire_for(provider: str, spoken: str, model: str) -> Wire:
    """Return how an account of `provider` is reached for a client that speaks wire format `spoken`.

    The same format where the provider has it; else the richest that it has. `model` is the upstream's name.
    """
    if spoken == "embeddings":
        return openai_embeddings.WIRE
    match provider:
        case "Anthropic":
            return anthropic.WIRE
        case "Gemini":
            return gemini.WIRE
        case "OpenAI":
            return openai_chat.WIRE if spoken == "chat" and not is_codex(model) else openai_responses.WIRE
        case _:
            return openai_chat.WIRE


@lru_cache(maxsize=4096)
def providers_for(spoken: str, model: str, *, counting: bool, translation: bool) -> frozenset[str] | None:
    """Return the providers whose accounts may take a request; None for all of them.

    `translation`: the plan lets a request cross from one wire format to another.
    """
    if spoken == "embeddings":
        return _EMBEDDING
    allowed = _COUNTING if counting else frozenset(PROVIDERS)
    if not translation:
        allowed = frozenset(p for p in allowed if wire_for(p, spoken, model).name == spoken)
    return None if allowed == frozenset(PROVIDERS) else allowed
