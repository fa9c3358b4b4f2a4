"""The accounts that the simulator plays: found by credential, each with its limits, its open requests and its cache."""

from __future__ import annotations

import fnmatch
import hashlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock_simulator import buckets
from penstock_simulator.buckets import Bucket
from penstock_simulator.cache import PromptCache
from penstock_simulator.refusal import LimitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_simulator.settings import AccountSettings


class Standing(NamedTuple):
    """How one limit of an account stands."""

    amount: int
    """Per minute."""
    left: int
    full_in: float
    """Seconds."""


class Account:
    """One account and its state. `now` is monotonic seconds."""

    def __init__(self, settings: AccountSettings, now: float) -> None:
        self.name = settings.name
        self.cache = PromptCache()
        self.open = 0
        self.most_open = 0
        self.served = 0
        self.organization = "org_sim_" + hashlib.sha256(settings.name.encode()).hexdigest()[:16]
        self.compatible = settings.compatible
        self._models = settings.models
        limits = settings.limits
        self._concurrent = limits.concurrent_requests
        self._buckets = {
            name: Bucket(amount, now)
            for name, amount in (
                ("requests", limits.requests_per_minute),
                ("input-tokens", limits.input_tokens_per_minute),
                ("output-tokens", limits.output_tokens_per_minute),
                ("count", limits.count_tokens_per_minute),
            )
            if amount is not None
        }

    def serves(self, model: str) -> bool:
        """Whether the account may use a model."""
        return any(pattern == "*" or fnmatch.fnmatchcase(model, pattern) for pattern in self._models)

    @property
    def named_models(self) -> list[str]:
        """The models that it may use, as far as they are named in full."""
        return [pattern for pattern in self._models if not any(sign in pattern for sign in "*?[")]

    def enter(self) -> int:
        """Count a message as open; returns how many are."""
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return self.open

    def leave(self) -> None:
        """Count one message less as open."""
        self.open -= 1

    def admit(self, input_tokens: int, now: float, wall: float) -> None:
        """Take a request and its input from the buckets. Raises LimitError and then takes nothing."""
        if self._concurrent is not None and self.open > self._concurrent:
            raise LimitError(
                "Number of concurrent connections has exceeded your rate limit. Please try again later or contact "
                "sales to discuss your options for a rate limit increase.",
                tuple(self.headers(now, wall)),
                limit="concurrent",
                amount=self._concurrent,
                asked=1,
                wait_seconds=0.0,
            )
        wanted = {"requests": 1, "input-tokens": input_tokens, "output-tokens": 1}
        waits = {name: self._buckets[name].wait(units, now) for name, units in wanted.items() if name in self._buckets}
        self._refuse_if_late(waits, wanted, now, wall)
        for name in ("requests", "input-tokens"):
            if name in self._buckets:
                self._buckets[name].take(wanted[name], now)

    def admit_count(self, now: float, wall: float) -> None:
        """Take one count_tokens request from its own bucket. Raises LimitError."""
        bucket = self._buckets.get("count")
        if bucket is not None:
            self._refuse_if_late({"count": bucket.wait(1, now)}, {"count": 1}, now, wall)
            bucket.take(1, now)

    def _refuse_if_late(self, waits: dict[str, float], wanted: dict[str, int], now: float, wall: float) -> None:
        late = max(waits, key=waits.__getitem__, default="")
        if not late or waits[late] <= 0.0:
            return
        bucket = self._buckets[late]
        what = {"count": "requests"}.get(late, late).replace("-", " ")
        hint = ("retry-after", str(max(1, math.ceil(waits[late]))))
        raise LimitError(
            f"This request would exceed your organization's rate limit of {bucket.amount:,} {what} per minute.",
            (hint, *self.headers(now, wall)),
            limit=late,
            amount=bucket.amount,
            asked=wanted[late],
            wait_seconds=waits[late],
        )

    def sent(self, output_tokens: int, now: float) -> None:
        """Take sent output from its bucket."""
        bucket = self._buckets.get("output-tokens")
        if bucket is not None and output_tokens:
            bucket.take(output_tokens, now)

    def headers(self, now: float, wall: float) -> list[tuple[str, str]]:
        """Return the limits that the account has as Anthropic's headers."""
        result: list[tuple[str, str]] = []
        for name in ("requests", "input-tokens", "output-tokens"):
            if name in self._buckets:
                result += buckets.headers(name, [self._buckets[name]], now, wall)
        both = [self._buckets[name] for name in ("input-tokens", "output-tokens") if name in self._buckets]
        if both:
            result += buckets.headers("tokens", both, now, wall)
        return result

    def standings(self, now: float) -> dict[str, Standing]:
        """Return the limits that the account has, by name: requests, input-tokens, output-tokens, count."""
        return {
            name: Standing(bucket.amount, max(0, math.floor(bucket.left(now) + 1e-9)), bucket.full_in(now))
            for name, bucket in self._buckets.items()
        }

    def shown(self, now: float) -> dict[str, Any]:
        """Return the state as JSON shows it; no credential."""
        return {
            "name": self.name,
            "open": self.open,
            "most_open": self.most_open,
            "served": self.served,
            "cached_prefixes": len(self.cache),
            "remaining": {name: math.floor(bucket.left(now)) for name, bucket in self._buckets.items()},
        }


class Accounts:
    """All accounts, by credential."""

    def __init__(self, settings: Iterable[AccountSettings], now: float) -> None:
        given = list(settings)
        self._by_name = {one.name: Account(one, now) for one in given}
        self._by_key = {one.key: self._by_name[one.name] for one in given}

    def find(self, credential: str | None) -> Account | None:
        """Return the account of a credential."""
        return self._by_key.get(credential) if credential else None

    def __getitem__(self, name: str) -> Account:
        return self._by_name[name]

    def all(self) -> list[Account]:
        """Return every account, in the order of the settings."""
        return list(self._by_name.values())

    def reset_peaks(self) -> None:
        """Let the highest count of open requests start anew."""
        for account in self._by_name.values():
            account.most_open = account.open
