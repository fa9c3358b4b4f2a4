"""Names of models: patterns that match them, and what an upstream is asked for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock_catalog.documents import Model

# What gateways write before the slash instead of the owner.
_CLOUDS: Mapping[str, tuple[str, ...]] = {"google": ("gcp",)}


class Named(Protocol):
    """What must be known of a model to name it upstream: the catalog's own model will do, and the edge's view of it."""

    @property
    def name(self) -> str:
        """The public name."""
        ...

    @property
    def owned_by(self) -> str:
        """Who made it, such as `anthropic`."""
        ...

    @property
    def upstream_names(self) -> Mapping[str, str]:
        """What a provider calls it, where that differs from what clients say."""
        ...


def matches(patterns: Iterable[str], names: Iterable[str]) -> bool:
    """Whether any of the patterns matches any of the names. `*` stands for any text; nothing else is special."""
    candidates = tuple(names)
    return any(_expression(pattern).fullmatch(name) for pattern in patterns for name in candidates)


def spoken_of(model: Model) -> tuple[str, ...]:
    """List every name that a client may use for this model, the public one first."""
    return (model.name, *model.aliases)


def upstream_name(model: Named, provider: str, asked: str) -> str:
    """Say what an account of this provider is asked for when a client asked for `asked`.

    That is what the model's `upstreamNames` say for the provider, else the client's own word: `claude-sonnet-4-5` and
    its dated form both reach Anthropic as they came. Some spellings are gateways' own: `anthropic/claude-sonnet-4.5`,
    `gcp/gemini-2.5-flash-eu`, the owner or its cloud before a slash. The owner's API does not know them (and its 404
    would take the account out of use for that model), so the public name goes instead, save to OpenAI-compatible
    upstreams: many of those name models so, and what they have is theirs to say.
    """
    if renamed := model.upstream_names.get(provider):
        return renamed
    before, slash, _ = asked.partition("/")
    if provider != "OpenAICompatible" and before and slash and before in _spellings(model.owned_by):
        return model.name
    return asked


def _spellings(owner: str) -> tuple[str, ...]:
    return (owner, *_CLOUDS.get(owner, ()))


@lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str]:
    first, *rest = map(re.escape, pattern.split("*"))
    if not rest:
        return re.compile(first)
    # What stands between two stars is looked for once: going back for it could take for ever and finds nothing more.
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    return re.compile(f"{first}{middle}.*{rest[-1]}", re.DOTALL)
