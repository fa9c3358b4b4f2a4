"""The classes of errors and what each does to an account: data that an installation may change, no code branches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from penstock_routing import outcomes as o


class Scope(StrEnum):
    """What a failure takes out of use."""

    NONE = "none"
    MODEL = "model"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one class of failure does. Seconds."""

    scope: Scope
    first_seconds: float = 0.0
    """The first cooldown, or the wait before the first probe when `until_probe`."""
    max_seconds: float = 0.0
    doubling: bool = True
    """Each failure in a row of this class doubles the cooldown, up to `max_seconds`."""
    honours_hint: bool = False
    """The upstream's own hint replaces the cooldown (clamped by the policy)."""
    failures: int = 1
    """How many requests have to fail within `window_seconds` before anything happens."""
    window_seconds: float = 30.0
    projects: int = 1
    """From how many projects these failures have to come ..."""
    failures_with_probe: int = 1
    """... or how many suffice when a probe failed as well."""
    until_probe: bool = False
    """Out until a probe succeeds or the credential changes; without: until the cooldown is over."""
    probe_seconds: float = 0.0
    """So often it is probed during a longer cooldown: an account that failed a probe and then answers has come back."""
    lifted_by_credential: bool = False
    """A changed credential makes it half-open at once."""
    widened_by_probe: bool = False
    """A probe that is refused too takes the whole account out."""
    throttle: bool = False
    """Counts as throttled when nothing is left (429 rather than 529)."""
    retry: bool = True
    """Another account may be tried."""


EFFECTS: Final[Mapping[str, Effect]] = {
    o.THROTTLED: Effect(
        scope=Scope.MODEL, first_seconds=5, max_seconds=300, doubling=False, honours_hint=True, throttle=True
    ),
    o.THROTTLED_NO_HINT: Effect(scope=Scope.MODEL, first_seconds=5, max_seconds=300, throttle=True),
    o.OVERLOADED: Effect(scope=Scope.MODEL, first_seconds=10, max_seconds=600, probe_seconds=15),
    o.UNSTABLE: Effect(
        scope=Scope.MODEL,
        first_seconds=15,
        max_seconds=600,
        failures=3,
        projects=2,
        failures_with_probe=2,
        probe_seconds=15,
    ),
    o.CREDENTIAL_INVALID: Effect(
        scope=Scope.ACCOUNT, first_seconds=15, max_seconds=300, until_probe=True, lifted_by_credential=True
    ),
    o.FORBIDDEN: Effect(
        scope=Scope.MODEL,
        first_seconds=15,
        max_seconds=300,
        until_probe=True,
        lifted_by_credential=True,
        widened_by_probe=True,
    ),
    o.QUOTA_EXHAUSTED: Effect(scope=Scope.ACCOUNT, first_seconds=60, max_seconds=3600, lifted_by_credential=True),
    o.MODEL_MISSING: Effect(scope=Scope.MODEL, first_seconds=600, max_seconds=600, doubling=False),
    o.CLIENT_FAULT: Effect(scope=Scope.NONE, retry=False),
    o.CLIENT_LEFT: Effect(scope=Scope.NONE, retry=False),
    o.OK: Effect(scope=Scope.NONE, retry=False),
    o.BEGUN: Effect(scope=Scope.NONE, retry=False),
}
"""Defaults. A class that is not named here is treated as Unstable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Every number that selection and health use. Seconds unless the name says otherwise."""

    effects: Mapping[str, Effect] = field(default_factory=lambda: EFFECTS)
    hint_min_seconds: float = 1.0
    hint_max_seconds: float = 3600.0
    ramp_percent: tuple[int, ...] = (10, 25, 50, 100)
    """Parts of its weight that a returning account takes; each success is a step, the last is healthy."""
    ramp_in_flight: tuple[int, ...] = (4, 16, 64)
    """Requests at once on each edge during these steps, whatever else is there: a return is never a herd."""
    trial_seconds: float = 30.0
    """A half-open trial without an answer gives its place away after this."""
    bounded_load: float = 1.5
    """With affinity an account takes at most this multiple of its even part of what is in flight ..."""
    bounded_load_floor: int = 4
    """... but this many at once always, so that one session's few requests stay together."""
    warm_load: float = 3.0
    """The same multiple for an account that has the request's cache."""
    cache_seconds: float = 300.0
    """For how long an upstream keeps a prompt that is not used."""
    expected_fresh: float = 0.1
    """The part of a prompt to be read anew where a conversation should be warm that was not seen here lately."""
    cold_tokens_per_second: float = 10_000.0
    """How fast a prompt is read that is not cached: so long is it worth to wait for the account that has it."""
    worth_least_seconds: float = 0.05
    worth_most_seconds: float = 10.0
    remembered: int = 50_000
    """Conversations whose account an edge remembers."""
    load_unit_tokens: int = 4096
    """So many tokens to be read or written weigh on an account as much as being asked at all."""
    demote_failures: int = 2
    demote_seconds: float = 30.0
    demoted_one_in: int = 20
    """One in so many picks still tries an account that was ordered last for its failures in a row."""
    scarce_fraction: float = 0.5
    """Below this part of an upstream's own limit its weight falls in proportion, for requests without affinity."""
    provisional_seconds: float = 2.0
    """For so long an edge's own longer cooldown stands against what the router said before it heard of it."""
    router_silent_seconds: float = 2.0
    """After so long without the router an edge makes its own trials."""
    unknown_recovery_seconds: float = 30.0
    """What is said as the soonest recovery where nobody knows."""
    max_attempts: int = 4

    def effect(self, cls: str) -> Effect:
        """Return what `cls` does; an unknown class does what Unstable does."""
        return self.effects.get(cls) or self.effects[o.UNSTABLE]

    def with_effect(self, cls: str, effect: Effect) -> Policy:
        """Return a policy in which `cls` does `effect`."""
        return replace(self, effects={**self.effects, cls: effect})
