"""One upstream account: takes a request, and says when it will answer what. A gateway sees the answers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.routing.accounts.cache import PromptCache
from benchmarks.routing.accounts.faults import BREAKS_OFF, CUT_TO, SHARE_REFUSED, SLOWNESS, Kind
from benchmarks.routing.accounts.refill import Refill
from benchmarks.routing.sight import Headers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from benchmarks.routing.accounts.latency import Latency
    from benchmarks.routing.accounts.manners import Manner, ModelLimits
    from benchmarks.routing.accounts.window import Window
    from benchmarks.routing.clients.turns import Turn

_ROUND_TRIP = 0.12
_MAX_RETRY_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What will happen: `begins` and `ends` are seconds from now; begins < 0: no output. Never: an infinite end."""

    status: int
    ends: float
    begins: float = -1.0
    broken: bool = False
    retry_after: float | None = None
    cached: int = 0
    output_rate: float = 0.0
    draw: float = 1.0
    """By how much chance makes its first token faster or slower than usual."""


class ModelBuckets:
    """The limits of one model at one account."""

    __slots__ = ("burst", "input", "output", "requests")

    def __init__(self, limits: ModelLimits, manner: Manner) -> None:
        self.requests = Refill(limits.requests)
        self.burst = Refill(limits.requests, manner.request_burst_seconds, least=5.0)
        self.input = Refill(limits.input)
        self.output = Refill(limits.output) if manner.output_limited else None

    def all(self) -> list[Refill]:
        """Return every bucket."""
        return [bucket for bucket in (self.requests, self.burst, self.input, self.output) if bucket is not None]


class Account:
    """One account with its faults, its cache and its limits by model."""

    def __init__(
        self,
        name: str,
        manner: Manner,
        limits: Mapping[str, ModelLimits],
        latency: Latency,
        rng: Random,
        *,
        slots: int = 0,
        window: Window | None = None,
    ) -> None:
        self.name = name
        self.manner = manner
        self.buckets = {model: ModelBuckets(limit, manner) for model, limit in limits.items()}
        self.cache = PromptCache()
        self.fault: Kind | None = None
        self.in_flight = 0
        self.lenient = False
        """Refuses nobody, and counts nothing."""
        self._latency = latency
        self._rng = rng
        self._slots = slots
        self._window = window

    # Faults

    def fails(self, kind: Kind | None, now: float) -> bool:
        """Begin a fault, or end it (None); True when it breaks off what is running."""
        before, self.fault = self.fault, kind
        for buckets in self.buckets.values():
            for bucket in buckets.all():
                if kind is Kind.CUT:
                    bucket.scale(CUT_TO, now)
                elif before is Kind.CUT:
                    bucket.scale(1 / CUT_TO, now)
        return kind in {Kind.DOWN, Kind.HANGING} or before is Kind.HANGING

    def probed(self) -> tuple[int, float]:
        """Answer `GET /v1/models`: status and seconds."""
        if self.fault is Kind.DOWN:
            return 0, 0.01
        if self.fault is Kind.HANGING:
            return 0, 10.0
        if self.fault is Kind.DEAD_KEY:
            return 401, _ROUND_TRIP
        return 200, _ROUND_TRIP

    def enforces(self, now: float) -> None:
        """Begin to enforce its limits, with full buckets."""
        self.lenient = False
        for buckets in self.buckets.values():
            for bucket in buckets.all():
                bucket.fill(now)

    # A request

    def takes(self, turn: Turn, now: float) -> Reply:
        """Take a request: what it costs is counted here, its answer is the caller's to play."""
        failure = self._failure()
        if failure is not None:
            return failure
        cached = self.cache.found(turn.model, turn.session, turn.prefix, turn.prefix_tokens, now)
        wait = self._refused_for(turn, cached, now)
        if wait is not None:
            return Reply(429, _ROUND_TRIP, retry_after=wait if wait >= 0 else None)
        return self._answer(turn, cached, now)

    def _failure(self) -> Reply | None:
        fault, rng = self.fault, self._rng
        if fault is None or fault in {Kind.SLOW, Kind.CUT}:
            return None
        if fault is Kind.DOWN:
            return Reply(0, 0.005)
        if fault is Kind.HANGING:
            return Reply(0, math.inf)
        if fault is Kind.DEAD_KEY:
            return Reply(401, _ROUND_TRIP)
        if fault is Kind.OVERLOADED or (fault is Kind.STORM and rng.random() < SHARE_REFUSED[Kind.STORM]):
            return Reply(529, _ROUND_TRIP + rng.random())
        if fault is Kind.BROWN_OUT and rng.random() < SHARE_REFUSED[Kind.BROWN_OUT]:
            return Reply(500, _ROUND_TRIP + 2.0 * rng.random())
        return None

    def _counted(self, turn: Turn, cached: int) -> int:
        counted = turn.prompt_tokens if self.manner.cached_input_counts else turn.prompt_tokens - cached
        return counted + turn.max_tokens if self.manner.reserves_max_tokens else counted

    def _refused_for(self, turn: Turn, cached: int, now: float) -> float | None:
        """Return the Retry-After of a refusal (-1: none is told), None when the request may pass."""
        if self.lenient:
            return None
        if self._window is not None and (closed := self._window.open_in(now)) > 0:
            return math.ceil(closed)
        if self._slots and self.in_flight >= self._slots:
            return -1.0
        buckets = self.buckets[turn.model]
        waits = [buckets.requests.wait(1.0, now), buckets.burst.wait(1.0, now)]
        waits.append(buckets.input.wait(self._counted(turn, cached), now))
        if buckets.output is not None:
            waits.append(buckets.output.wait(1.0, now))
        longest = max(waits)
        return None if longest <= 0 else float(min(max(math.ceil(longest), 1), _MAX_RETRY_AFTER))

    def _answer(self, turn: Turn, cached: int, now: float) -> Reply:
        buckets, rng = self.buckets[turn.model], self._rng
        buckets.requests.take(1.0, now)
        buckets.burst.take(1.0, now)
        buckets.input.take(self._counted(turn, cached), now)
        if self._window is not None:
            self._window.take(turn.prompt_tokens - cached + turn.output_tokens, now)
        slow = SLOWNESS.get(self.fault, 1.0) if self.fault is not None else 1.0
        draw = self._latency.draw(rng)
        first = self._latency.expected_first(turn.prompt_tokens - cached, cached) * draw * slow
        rest = max(self._latency.rest(turn.output_tokens, rng) * slow, 0.01)
        rate = turn.output_tokens / rest
        if self.fault is Kind.BROWN_OUT and rng.random() < BREAKS_OFF:
            return Reply(
                200, first + rest * rng.random(), first, broken=True, cached=cached, output_rate=rate, draw=draw
            )
        return Reply(200, first + rest, first, cached=cached, output_rate=rate, draw=draw)

    # While it answers

    def begins(self, turn: Turn, reply: Reply, now: float) -> None:
        """Note that output begins: the prompt is in the cache, and output drains its bucket."""
        self.cache.written(turn.model, turn.session, turn.prefix, turn.prefix_tokens, turn.prompt_tokens, now)
        output = self.buckets[turn.model].output
        if output is not None:
            output.drained(reply.output_rate, now)

    def ends(self, turn: Turn, reply: Reply, now: float) -> None:
        """Note that output ends."""
        output = self.buckets[turn.model].output
        if output is not None:
            output.drained(-reply.output_rate, now)

    def headers(self, model: str, now: float) -> Headers | None:
        """Return the ratelimit headers of an answer that begins now."""
        if not self.manner.headers or self.fault in {Kind.DOWN, Kind.HANGING, Kind.DEAD_KEY}:
            return None
        buckets = self.buckets[model]
        requests, tokens, output = buckets.requests, buckets.input, buckets.output
        return Headers(
            requests_limit=int(requests.burst),
            requests_left=max(int(requests.left(now)), 0),
            requests_reset=requests.reset(now),
            input_limit=int(tokens.burst),
            input_left=_thousands(tokens.left(now)),
            input_reset=tokens.reset(now),
            output_limit=int(output.burst) if output is not None else -1,
            output_left=_thousands(output.left(now)) if output is not None else -1,
            output_reset=output.reset(now) if output is not None else -1.0,
        )


def _thousands(tokens: float) -> int:
    return max(int(tokens / 1000 + 0.5) * 1000, 0)
