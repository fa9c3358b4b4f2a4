"""Which models a key is shown: those that its plan includes and that some account serves."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from penstock_edge.snapshot import allows

if TYPE_CHECKING:
    from penstock_edge.records import KeyFacts
    from penstock_edge.seams import View
    from penstock_edge.snapshot import Model


def visible(view: View, key: KeyFacts) -> list[Model]:
    """Return the models that this key may use now."""
    served = {name for account in view.accounts() if (facts := view.account(account)) for name in facts.models}
    return [
        model
        for model in view.models()
        if model.name in served and may_use(key.models, model.name, model.aliases, model.name)
    ]


def find(models: list[Model], name: str) -> Model | None:
    """Return the model of this name or alias."""
    return next((model for model in models if name == model.name or name in model.aliases), None)


@lru_cache(maxsize=4096)
def may_use(patterns: tuple[str, ...], name: str, aliases: tuple[str, ...], asked: str) -> bool:
    """Say whether a key with these patterns may use a model, by any of its names."""
    return any(allows(patterns, known) for known in (name, asked, *aliases))
