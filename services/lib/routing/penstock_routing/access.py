"""Which accounts a key's requests may reach, by its plan: models, wire formats, translation. Pure.

The edge decides by it, and the admin API explains by it.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROVIDERS: Final = ("Anthropic", "OpenAI", "Gemini", "OpenAICompatible")

MESSAGES: Final = "messages"
CHAT: Final = "chat"
RESPONSES: Final = "responses"
GENERATE: Final = "generate"
EMBEDDINGS: Final = "embeddings"

WIRES: Final[Mapping[str, str]] = {
    "anthropic": MESSAGES,
    "openai_chat": CHAT,
    "openai_responses": RESPONSES,
    "gemini": GENERATE,
    "openai_embeddings": EMBEDDINGS,
}
"""The wire format that each dialect speaks."""

_COUNTING: Final = frozenset({"Anthropic", "OpenAI", "Gemini"})
_EMBEDDING: Final = frozenset({"OpenAI", "OpenAICompatible"})


def allows(patterns: Iterable[str], model: str) -> bool:
    """Say whether a key with these patterns may use `model`. `*` stands for any text; nothing else is special."""
    return any(pattern == "*" or fnmatchcase(model, _literal(pattern)) for pattern in patterns)


def _literal(pattern: str) -> str:
    """Return the pattern for file names that says the same: the catalog's know neither `?` nor `[`."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


@lru_cache(maxsize=4096)
def may_use(patterns: tuple[str, ...], name: str, aliases: tuple[str, ...], asked: str) -> bool:
    """Say whether a key with these patterns may use a model, by any of its names."""
    return any(allows(patterns, known) for known in (name, asked, *aliases))


def is_claude(model: str, owned_by: str) -> bool:
    """Whether a model is one that clients of Anthropic's API expect there."""
    return owned_by == "anthropic" or "claude" in model


def is_codex(model: str) -> bool:
    """Whether a model is one of those that OpenAI serves on /v1/responses alone."""
    return "codex" in model


def wire_name(provider: str, spoken: str, model: str) -> str:
    """Return the wire format in which an account of `provider` is reached for a client that speaks `spoken`.

    The same format where the provider has it; else the richest that it has. `model` is the upstream's name.
    """
    if spoken == EMBEDDINGS:
        return EMBEDDINGS
    match provider:
        case "Anthropic":
            return MESSAGES
        case "Gemini":
            return GENERATE
        case "OpenAI":
            return CHAT if spoken == CHAT and not is_codex(model) else RESPONSES
        case _:
            return CHAT


@lru_cache(maxsize=4096)
def providers_for(spoken: str, model: str, *, counting: bool, translation: bool) -> frozenset[str] | None:
    """Return the providers whose accounts may take a request; None for all of them.

    `translation`: the plan lets a request cross from one wire format to another.
    """
    if spoken == EMBEDDINGS:
        return _EMBEDDING
    allowed = _COUNTING if counting else frozenset(PROVIDERS)
    if not translation:
        allowed = frozenset(p for p in allowed if wire_name(p, spoken, model) == spoken)
    return None if allowed == frozenset(PROVIDERS) else allowed
