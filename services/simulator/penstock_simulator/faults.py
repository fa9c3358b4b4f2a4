"""Standing fault rules by account, model and operation, with probability, count and seed."""

from __future__ import annotations

import fnmatch
import random
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock_simulator.behaviour import DirectiveError, read_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

Scope = Literal["inference", "messages", "embeddings", "count_tokens", "models", "any"]
_SCOPES: dict[str, frozenset[str]] = {
    "inference": frozenset({"messages", "embeddings", "count_tokens"}),
    "messages": frozenset({"messages"}),
    "embeddings": frozenset({"embeddings"}),
    "count_tokens": frozenset({"count_tokens"}),
    "models": frozenset({"models"}),
    "any": frozenset({"messages", "embeddings", "count_tokens", "models"}),
}


class RuleSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule as it is written; `set` holds directives as in a prompt."""

    account: str = "*"
    model: str = "*"
    """Pattern of model names."""
    operation: Scope = "inference"
    """`models` is the unbilled probe; `any` makes an account wholly dead."""
    probability: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    count: Annotated[int, Meta(ge=0)] | None = None
    """At most this often; absent: for ever."""
    skip: Annotated[int, Meta(ge=0)] = 0
    """Leave the first matching requests alone."""
    seed: int = 0
    set: dict[str, Any]

    def __post_init__(self) -> None:
        try:
            read_fields(self.set)
        except DirectiveError as error:
            raise ValueError(str(error)) from error


class Rule:
    """A rule in force: how often it met a request, and how often it struck."""

    def __init__(self, spec: RuleSpec) -> None:
        self.spec = spec
        self.seen = 0
        self.fired = 0
        self._fields = read_fields(spec.set)
        self._operations = _SCOPES[spec.operation]
        self._random = random.Random(spec.seed)

    def strike(self, account: str, model: str, operation: str) -> dict[str, Any] | None:
        """Return the fields to set if the rule hits this request. Draws and counts, so ask once per request."""
        spec = self.spec
        if operation not in self._operations or spec.account not in {"*", account}:
            return None
        if spec.model != "*" and not fnmatch.fnmatchcase(model, spec.model):
            return None
        self.seen += 1
        if self.seen <= spec.skip or (spec.count is not None and self.fired >= spec.count):
            return None
        if spec.probability < 1.0 and self._random.random() >= spec.probability:
            return None
        self.fired += 1
        return self._fields

    def shown(self) -> dict[str, Any]:
        """Return the rule with its counts, as JSON shows it."""
        return msgspec.structs.asdict(self.spec) | {"seen": self.seen, "fired": self.fired}


class FaultBook:
    """All rules in force, in the order in which they were given; later ones win over earlier ones."""

    def __init__(self, specs: Iterable[RuleSpec] = ()) -> None:
        self._rules = [Rule(spec) for spec in specs]

    def strike(self, account: str, model: str, operation: str) -> list[dict[str, Any]]:
        """Return the fields of every rule that hits this request."""
        if not self._rules:
            return []
        hits = (rule.strike(account, model, operation) for rule in self._rules)
        return [hit for hit in hits if hit is not None]

    def replace(self, account: str, specs: Iterable[RuleSpec]) -> None:
        """Put these rules in place of all rules of one account (`*`: those for every account)."""
        added = [Rule(msgspec.structs.replace(spec, account=account)) for spec in specs]
        self._rules = [rule for rule in self._rules if rule.spec.account != account] + added

    def add(self, **fields: Any) -> Rule:
        """Add one rule; the arguments are RuleSpec's."""
        rule = Rule(msgspec.convert(fields, RuleSpec))
        self._rules.append(rule)
        return rule

    def clear(self, account: str | None = None) -> None:
        """Take away the rules of one account, or all."""
        self._rules = [rule for rule in self._rules if account is not None and rule.spec.account != account]

    def shown(self, account: str | None = None) -> list[dict[str, Any]]:
        """Return the rules of one account, or all, as JSON shows them."""
        return [rule.shown() for rule in self._rules if account is None or rule.spec.account == account]
