"""The catalog in force: plans as the counters need them, declared keys, and what a new document changes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

from penstock_auth.counters import Limit, Scope, Unit
from penstock_auth.declared_keys import AS_DECLARED, keys_of
from penstock_auth.keys import KeyState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock_auth.declared_keys import Recorded
    from penstock_auth.keys import Key
    from penstock_catalog.documents import AuthCatalog, Plan
    from penstock_catalog.prices import PriceRow

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class CatalogView:
    """One version of the catalog, indexed. `declared` is by digest."""

    version: str = ""
    plans: Mapping[str, Plan] = field(default_factory=dict)
    limits: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)
    declared: Mapping[bytes, Key] = field(default_factory=dict)

    def limits_of(self, plan: str) -> tuple[Limit, ...]:
        """Return a plan's windows; none for a plan that is not there."""
        return self.limits.get(plan, ())


EMPTY: Final = CatalogView()


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two views for those who hold facts of the first."""

    plans: tuple[str, ...]
    keys: tuple[bytes, ...]


def view(document: AuthCatalog, recorded: Recorded = AS_DECLARED) -> CatalogView:
    """Index a document, as far as SQL took its declared keys."""
    keys = [
        replace(key, counted_as=recorded.counted_as.get(key.id, ""))
        for each in document.api_keys
        for key in keys_of(each)
        if key.id not in recorded.refused
    ]
    return CatalogView(
        version=document.version,
        plans={plan.name: plan for plan in document.plans},
        limits={plan.name: _limits(plan) for plan in document.plans},
        declared={key.digest: key for key in keys},
    )


def difference(before: CatalogView, after: CatalogView) -> Difference:
    """Name the plans and declared keys that came, went or changed."""
    return Difference(
        plans=tuple(_changed(before.plans, after.plans)), keys=tuple(_changed(before.declared, after.declared))
    )


def restricted(before: CatalogView, after: CatalogView) -> CatalogView:
    """Return what of `after` needs nothing of SQL: its plans, and which it gives to or takes from `before`'s keys.

    Taken from declared keys is what left, was revoked or ends sooner; what comes new waits.
    """
    return replace(
        before,
        plans=after.plans,
        limits=after.limits,
        declared={digest: _less(key, after.declared.get(digest)) for digest, key in before.declared.items()},
    )


def _less(key: Key, wanted: Key | None) -> Key:
    if wanted is None:
        return replace(key, state=KeyState.WITHDRAWN.value)
    key = replace(key, plan=wanted.plan)
    if wanted.state == KeyState.DISABLED:
        return replace(key, state=wanted.state)
    if 0 < wanted.expires_at_ms < (key.expires_at_ms or wanted.expires_at_ms + 1):
        return replace(key, state=wanted.state, expires_at_ms=wanted.expires_at_ms)
    return key


def price_rows(document: AuthCatalog) -> list[PriceRow]:
    """Return all price rows of all models."""
    return [row for model in document.models for row in model.prices]


def _limits(plan: Plan) -> tuple[Limit, ...]:
    return tuple(
        Limit(each.name, Unit(each.unit), each.amount, each.window_ms, Scope(each.scope)) for each in plan.limits
    )


def _changed(before: Mapping[K, object], after: Mapping[K, object]) -> Iterable[K]:
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]
