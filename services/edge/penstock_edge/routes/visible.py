"""Which models a key is shown: those that its plan includes and that some account serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_routing.access import may_use
from penstock_routing.accounts import ACTIVE

if TYPE_CHECKING:
    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.seams import View
    from penstock_edge.snapshot import Model
    from penstock_routing import AccountFacts


def visible(view: View, key: KeyFacts) -> list[Model]:
    """Return the models that this key may use now."""
    accounts = [facts for name in view.accounts() if (facts := view.account(name)) and _serves(facts)]
    served = {name for facts in accounts for name in facts.models}
    return [
        model
        for model in view.models()
        if model.name in served and may_use(key.models, model.name, model.aliases, model.name)
    ]


def _serves(facts: AccountFacts) -> bool:
    """Whether an account takes new requests, as far as that is for people to say: its health comes and goes."""
    return facts.mode == ACTIVE and facts.weight > 0 and not facts.not_served


def find(models: list[Model], name: str) -> Model | None:
    """Return the model of this name or alias."""
    return next((model for model in models if name == model.name or name in model.aliases), None)
