"""How many accounts each model has, and how many of them take requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_routing.accounts import ACTIVE
from penstock_routing.condition import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock_router.messages import Word
    from penstock_routing.accounts import AccountFacts
    from penstock_routing.health import Key

TAKING, OUT, CLOSED = "taking", "out", "closed"


def count(accounts: Iterable[AccountFacts], words: Mapping[Key, Word]) -> dict[str, dict[str, int]]:
    """Count by model and state. An account on its ramp takes requests; one that waits for its trial does not."""
    out = {
        (key.account, key.model)
        for key, word in words.items()
        if not key.operation and word.phase in {Phase.COOLING, Phase.HALF_OPEN}
    }
    counted: dict[str, dict[str, int]] = {}
    for account in accounts:
        closed = account.mode != ACTIVE or bool(account.not_served)
        whole = (account.name, "") in out
        for model in account.models:
            states = counted.setdefault(model, {TAKING: 0, OUT: 0, CLOSED: 0})
            if closed:
                states[CLOSED] += 1
            elif whole or (account.name, model) in out:
                states[OUT] += 1
            else:
                states[TAKING] += 1
    return counted
