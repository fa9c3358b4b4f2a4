"""Which accounts serve a model, by tier: the index of a pool, made anew when its set of accounts changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_routing.lanes import Lane, Tier

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from penstock_routing.candidates import Traits
    from penstock_routing.lanes import Account


class Serving:
    """Every account and model in one lane; closed accounts apart from those that may be asked."""

    __slots__ = ("_closed", "_providers", "_restricted", "_tiers", "lanes")

    def __init__(self) -> None:
        self.lanes: dict[tuple[str, str], Lane] = {}
        """By account and model."""
        self._tiers: dict[str, tuple[Tier, ...]] = {}
        self._closed: dict[str, tuple[Lane, ...]] = {}
        self._restricted: dict[tuple[str, frozenset[str]], tuple[Tier, ...]] = {}
        """The tiers of requests that only some providers may take, made when first asked for."""
        self._providers: dict[str, frozenset[str]] = {}

    def load(self, accounts: Iterable[Account], moved: Container[str]) -> None:
        """Index these accounts. Lanes that stay keep their state; of those `moved` to another upstream none does."""
        old, self.lanes = self.lanes, {}
        for known in old.values():
            known.gone = True
        by_model: dict[str, dict[int, list[Lane]]] = {}
        closed: dict[str, list[Lane]] = {}
        for account in accounts:
            for model in account.facts.models:
                lane = old.get((account.name, model))
                if lane is None or lane.account is not account or account.name in moved:
                    lane = Lane(account, model)
                lane.weight = float(account.facts.weight)
                self.lanes[account.name, model] = lane
                lane.gone = False
                if account.closed:
                    closed.setdefault(model, []).append(lane)
                else:
                    by_model.setdefault(model, {}).setdefault(account.facts.tier, []).append(lane)
        self._tiers = {
            model: tuple(Tier(number, tiers[number]) for number in sorted(tiers)) for model, tiers in by_model.items()
        }
        self._closed = {model: tuple(lanes) for model, lanes in closed.items()}
        self._restricted.clear()
        self._providers.clear()

    def models(self) -> Container[str]:
        """Return the models that some account may be asked for."""
        return self._tiers.keys()

    def open(self, model: str) -> tuple[Tier, ...]:
        """Return the tiers of the accounts that may be asked, first things first."""
        return self._tiers.get(model, ())

    def closed(self, model: str) -> tuple[Lane, ...]:
        """Return the lanes of accounts that serve the model and may not be asked."""
        return self._closed.get(model, ())

    def providers(self, model: str) -> frozenset[str]:
        """Return the providers of the accounts that serve a model, closed ones too."""
        found = self._providers.get(model)
        if found is None:
            lanes = [*self.closed(model), *(lane for tier in self.open(model) for lane in tier.lanes)]
            if not lanes:
                # Names that nobody serves are not remembered: there is no end of them.
                return frozenset()
            found = self._providers[model] = frozenset(lane.account.facts.provider for lane in lanes)
        return found

    def tiers(self, traits: Traits) -> tuple[Tier, ...]:
        """Return the tiers for a request: without the accounts of providers that may not take it."""
        if traits.providers is None:
            return self._tiers.get(traits.model, ())
        key = (traits.model, traits.providers)
        found = self._restricted.get(key)
        if found is None:
            tiers = self.open(traits.model)
            if not tiers:
                # As in `providers`.
                return ()
            kept = ((t.number, [lane for lane in t.lanes if lane.may_take(traits.providers)]) for t in tiers)
            found = self._restricted[key] = tuple(Tier(number, lanes) for number, lanes in kept if lanes)
        return found

    def lanes_for(self, traits: Traits) -> list[Lane]:
        """Return the lanes that a request may take, tier by tier."""
        return [lane for tier in self.tiers(traits) for lane in tier.lanes]
