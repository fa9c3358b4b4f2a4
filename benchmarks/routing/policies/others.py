"""The policies that ours is compared with: each is one way to choose among the accounts that are left."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from benchmarks.routing.policies.retrying import Retrying

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence
    from random import Random

    from benchmarks.routing.policies.retrying import Lane
    from benchmarks.routing.sight import AccountSight, Asked, Seen

_SAMPLES = 10


class RoundRobin(Retrying):
    """One account after another. It heeds Retry-After, and knows no other cooldown."""

    name = "round robin"
    cools = False

    def __init__(self, accounts: Sequence[AccountSight], rng: Random, wait_seconds: float) -> None:
        super().__init__(accounts, rng, wait_seconds)
        self._turn = 0

    def prefer(self, asked: Asked, lanes: Sequence[Lane]) -> Lane:
        """Take the next one."""
        del asked
        self._turn += 1
        return lanes[self._turn % len(lanes)]


class Shuffle(Retrying):
    """LiteLLM's default, simple-shuffle: any account by its weight (here all weigh the same), cooldowns as above."""

    name = "random with cooldown"

    def prefer(self, asked: Asked, lanes: Sequence[Lane]) -> Lane:
        """Draw."""
        del asked
        return lanes[int(self.rng.random() * len(lanes))]


class LeastBusy(Retrying):
    """The account with the fewest requests under way; of equals any."""

    name = "least busy"

    def prefer(self, asked: Asked, lanes: Sequence[Lane]) -> Lane:
        """Take the least busy."""
        del asked
        least = min(lane.in_flight for lane in lanes)
        idle = [lane for lane in lanes if lane.in_flight == least]
        return idle[int(self.rng.random() * len(idle))]


class StickyHash(Retrying):
    """Rendezvous hashing by session, or by the prompt's beginning without one; no bound on any account's load."""

    name = "sticky by hash"

    def prefer(self, asked: Asked, lanes: Sequence[Lane]) -> Lane:
        """Take the one with the highest hash."""
        key = asked.session or asked.prefix
        return max(lanes, key=lambda lane: crc32(f"{lane.account}/{key}".encode()) * 2654435761 % 4294967296)


class LowestLatency(Retrying):
    """The account whose last ten answers began soonest on the average; of those not yet measured any, first.

    As LiteLLM's latency-based routing without a buffer: streams are judged by their time to the first token.
    """

    name = "lowest latency"

    def __init__(self, accounts: Sequence[AccountSight], rng: Random, wait_seconds: float) -> None:
        super().__init__(accounts, rng, wait_seconds)
        self._seen: dict[int, deque[float]] = {}

    def prefer(self, asked: Asked, lanes: Sequence[Lane]) -> Lane:
        """Take the fastest."""
        del asked
        unknown = [lane for lane in lanes if not lane.latencies]
        if unknown:
            return unknown[int(self.rng.random() * len(unknown))]
        return min(lanes, key=lambda lane: sum(lane.latencies) / len(lane.latencies))

    def _judge(self, lane: Lane, seen: Seen, now: float) -> None:
        super()._judge(lane, seen, now)
        if seen.good and seen.began_at >= 0:
            lane.latencies.append(seen.began_at - seen.sent_at)
        elif not seen.good and seen.status in {0, 408}:
            lane.latencies.append(1000.0)  # As LiteLLM punishes a timeout.
        del lane.latencies[:-_SAMPLES]
