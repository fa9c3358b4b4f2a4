"""Standing fault rules by account, model and operation, with probability, count and seed."""

from __future__ import annotations

import fnmatch
import random
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

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


class RuleSpec(BaseModel):
    """One rule as it is written; `set` holds directives as in a prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str = "*"
    model: str = "*"
    """Pattern of model names."""
    operation: Scope = "inference"
    """`models` is the unbilled probe; `any` makes an account wholly dead."""
    probability: float = Field(default=1.0, ge=0.0, le=1.0)
    count: int | None = Field(default=None, ge=0)
    """At most this often; absent: for ever."""
    skip: int = Field(default=0, ge=0)
    """Leave the first matching requests alone."""
    seed: int = 0
    set: dict[str, Any]

    @field_validator("set")
    @classmethod
    def _known(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            read_fields(value)
        except DirectiveError as error:
            raise ValueError(str(error)) from error
        return value


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
        return self.spec.model_dump() | {"seen": self.seen, "fired": self.fired}


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
        added = [Rule(spec.model_copy(update={"account": account})) for spec in specs]
        self._rules = [rule for rule in self._rules if rule.spec.account != account] + added

    def add(self, **fields: Any) -> Rule:
        """Add one rule; the arguments are RuleSpec's."""
        rule = Rule(RuleSpec.model_validate(fields))
        self._rules.append(rule)
        return rule

    def clear(self, account: str | None = None) -> None:
        """Take away the rules of one account, or all."""
        self._rules = [rule for rule in self._rules if account is not None and rule.spec.account != account]

    def shown(self, account: str | None = None) -> list[dict[str, Any]]:
        """Return the rules of one account, or all, as JSON shows them."""
        return [rule.shown() for rule in self._rules if account is None or rule.spec.account == account]
