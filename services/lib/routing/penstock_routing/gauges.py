"""What an upstream has told of its limits for one account and model, and how fast we may go by it.

Every answer's headers say how much is left of a limit and when it will be full again. Between two of them we count on:
what refills comes in, what we send goes out. With traffic there are several a second, so that neither a wrong estimate
nor what other edges send leads far astray; without, nothing is scarce.

Capacity is lost only while a bucket is full, so requests may well leave a part of the limit in store. What is stored
makes up for what is estimated badly and told late, and keeps conversations that are warm going when prompts that are
cold, and cost as much as twenty of their turns, would eat all there is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from penstock_routing.buckets import Bucket

if TYPE_CHECKING:
    from penstock_routing.accounts import Hints
    from penstock_routing.candidates import Traits

RESERVE: Final = 0.15
"""Of a limit: what a request leaves in store ..."""
LIGHT_RESERVE: Final = 0.04
"""... and what one of a project leaves that has been served less than others, while these wait."""
STRANGE_RESERVE: Final = 0.35
"""What one of another project leaves, while some wait, whose conversation has not been seen lately."""
_COLD: Final = 4.0
_COLD_MOST: Final = 0.25
"""Where a prompt is not at home, it leaves so many times what it costs as well, at most this part of the limit."""
_FULL: Final = 0.95
"""Of the limit: with so much there, anything goes."""
_MINUTE: Final = 60.0
_TELLING_SECONDS: Final = 5.0
"""Resets are rounded to seconds: only a longer one tells how fast a limit refills, as those by the day do not by ..."""
_SAME: Final = 3.0
"""... the minute. A refill within this factor of the limit per minute is taken for just that."""
_NOTHING: Final = 1e-6
_FIRST_SHARE: Final = 0.97
_CUT: Final = 0.9
_GROW_PER_SECOND: Final = 0.002
_LONGEST_WAIT: Final = 60.0


class Gauge:
    """One limit of an upstream: `limit` units at most, refilled by `rate` per second. -1: never heard of."""

    __slots__ = ("at", "level", "limit", "rate")

    def __init__(self) -> None:
        self.limit = -1.0
        self.level = 0.0
        self.rate = 0.0
        self.at = 0.0

    def heard(self, limit: int, left: int, reset_seconds: float, now: float, under_way: float) -> None:
        """Take what an answer said; `under_way`: estimated units of open requests that are not drained yet."""
        if limit <= 0 or left < 0:
            return
        usual = limit / _MINUTE
        if limit != self.limit:
            self.limit = float(limit)
            self.rate = usual
        if reset_seconds >= _TELLING_SECONDS and limit > left:
            rate = (limit - left) / reset_seconds
            self.rate = usual if usual / _SAME <= rate <= usual * _SAME else rate
        self.level = left - under_way
        self.at = now

    def left(self, now: float) -> float:
        """Return what should be left at `now`."""
        return min(self.level + (now - self.at) * self.rate, self.limit)

    def wait(self, units: float, now: float, reserve: float, *, at_home: bool = False) -> float:
        """Return the seconds until so much may be sent that leaves `reserve` (a part of the limit); 0: now."""
        # Asked of every account for every request that waits: a call of min costs as much as the rest.
        limit = self.limit
        need = units + limit * reserve
        if not at_home:
            most = limit * _COLD_MOST
            need += units * _COLD if units * _COLD < most else most  # noqa: FURB136 # see above
        full = limit * _FULL
        short = (need if need < full else full) - self.level - (now - self.at) * self.rate  # noqa: FURB136 # see above
        if short <= limit * _NOTHING:
            return 0.0
        rate = self.rate
        return short / rate if short < rate * _LONGEST_WAIT else _LONGEST_WAIT

    def take(self, units: float, now: float) -> None:
        """Count a request that goes out (negative: one that did not)."""
        self.level = self.left(now) - units
        self.at = now


class Gauges:
    """The limits of one account for one model, as far as its answers tell them.

    What a request costs is (1 request, all tokens, fresh input, output), in the order of the gauges.
    """

    __slots__ = ("closed_units", "closed_until", "gauges", "known", "smooth")

    def __init__(self) -> None:
        self.gauges = (Gauge(), Gauge(), Gauge(), Gauge())
        self.known: tuple[tuple[int, Gauge], ...] = ()
        self.smooth: Bucket | None = None
        """Requests over shorter spans, once a refusal has shown that they are limited too."""
        self.closed_until = -math.inf
        self.closed_units = 0.0
        """Until then nothing goes that reads so much anew: the upstream has refused that."""

    def heard(self, hints: Hints, now: float, output_under_way: float) -> None:
        """Take what an answer said."""
        requests, tokens, fresh, output = self.gauges
        requests.heard(hints.requests_limit, hints.requests_remaining, hints.requests_reset_ms / 1000.0, now, 0.0)
        fresh.heard(hints.input_limit, hints.input_remaining, hints.input_reset_ms / 1000.0, now, 0.0)
        output.heard(hints.output_limit, hints.output_remaining, hints.output_reset_ms / 1000.0, now, output_under_way)
        if hints.input_limit <= 0 and hints.output_limit <= 0:
            # Where both are told, this is only the tighter one once more.
            tokens.heard(hints.tokens_limit, hints.tokens_remaining, hints.tokens_reset_ms / 1000.0, now, 0.0)
        self.known = tuple((kind, gauge) for kind, gauge in enumerate(self.gauges) if gauge.limit > 0)

    def wait(self, traits: Traits, fresh: int, now: float, *, at_home: bool = False) -> float:
        """Return the seconds until such a request may go that reads `fresh` tokens anew; 0: now."""
        costs = (1.0, traits.estimated_tokens, fresh, traits.estimated_output)
        reserve = traits.reserve
        longest = self.closed_until - now if now < self.closed_until and fresh >= self.closed_units else 0.0
        for kind, gauge in self.known:
            wait = gauge.wait(costs[kind], now, reserve, at_home=at_home)
            if wait > longest:  # noqa: PLR1730 # as in Gauge.wait
                longest = wait
        if self.smooth is not None:
            self._grow(self.smooth, now)
            longest = max(longest, self.smooth.wait(1.0, now))
        return longest

    def take(self, sign: float, tokens: float, fresh: float, output: float, now: float) -> None:
        """Count a request that goes out (`sign` 1), or one that did not (-1)."""
        costs = (sign, sign * tokens, sign * fresh, sign * output)
        for kind, gauge in self.known:
            gauge.take(costs[kind], now)
        if self.smooth is not None:
            self.smooth.take(sign, now)

    def scarcity(self, fraction: float, now: float) -> float:
        """Return the factor for a weight by what is left of what is scarcest: 1 while more than `fraction`."""
        least = fraction
        for _, gauge in self.known:
            part = gauge.left(now) / gauge.limit
            least = min(least, part)
        return max(least / fraction, 0.001)

    def short(self, tokens: float, fresh: float, output: float, now: float) -> bool:
        """Tell whether by all that was told there is no room for such a request."""
        costs = (1.0, tokens, fresh, output)
        return any(gauge.wait(costs[kind], now, 0.0, at_home=True) > 0 for kind, gauge in self.known)

    def refused(self, tokens: float, fresh: float, output: float, seconds: float, now: float) -> None:
        """Note a refusal: nothing as large goes for so long as it asks.

        When by all that was told there was room, requests are limited over shorter spans as well, and nothing goes.
        """
        explained = self.short(tokens, fresh, output, now)
        self.closed_until = max(self.closed_until, now + min(seconds, _LONGEST_WAIT))
        self.closed_units = fresh if explained else 0.0
        requests = self.gauges[0]
        if explained or requests.limit <= 0:
            return
        if self.smooth is None:
            rate = requests.limit / _MINUTE * _FIRST_SHARE
            self.smooth = Bucket(rate, max(rate, 1.0), 0.0, now)
            return
        self._grow(self.smooth, now)
        rate = self.smooth.rate * _CUT
        self.smooth.reshape(rate, max(rate, 1.0), now)

    def _grow(self, smooth: Bucket, now: float) -> None:
        """Let the pace grow back slowly: limits change, and a refusal may have been chance."""
        rate = min(smooth.rate * (1.0 + _GROW_PER_SECOND * max(now - smooth.at, 0.0)), self.gauges[0].limit / _MINUTE)
        smooth.reshape(rate, max(rate, 1.0), now)
