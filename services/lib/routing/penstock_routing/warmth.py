"""Where a conversation's prompt is cached: the account that served it last. Bounded, the least used forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_routing.candidates import Pick, Traits
    from penstock_routing.lanes import Lane
    from penstock_routing.policy import Policy


class Warm:
    """One conversation's home: so many tokens of it were there at `at`."""

    __slots__ = ("at", "lane", "tokens")

    def __init__(self, lane: Lane, tokens: int, at: float) -> None:
        self.lane = lane
        self.tokens = tokens
        self.at = at

    def fresh(self, traits: Traits) -> int:
        """Return how much of a prompt its home has to read anew."""
        return max(traits.estimated_tokens - traits.estimated_output - self.tokens, 0)

    def worth(self, policy: Policy, traits: Traits) -> float:
        """Return for how many seconds waiting for its home costs less than reading the prompt anew elsewhere does."""
        return worth(policy, min(self.tokens, traits.estimated_tokens - traits.estimated_output))


def worth(policy: Policy, tokens: int) -> float:
    """Return for how many seconds it is worth waiting rather than reading so many tokens anew."""
    return min(max(tokens / policy.cold_tokens_per_second, policy.worth_least_seconds), policy.worth_most_seconds)


class Warmth:
    """Homes by model and affinity. A home moves when another account has served its conversation: there it is warm."""

    __slots__ = ("_homes", "_policy")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._homes: OrderedDict[tuple[str, bytes], Warm] = OrderedDict()

    def __len__(self) -> int:
        return len(self._homes)

    def find(self, model: str, affinity: bytes, now: float) -> Warm | None:
        """Return the home of a conversation while its cache lives."""
        warm = self._homes.get((model, affinity))
        if warm is None or now - warm.at >= self._policy.cache_seconds or warm.lane.gone:
            return None
        return warm

    def served(self, pick: Pick, tokens: int, now: float) -> None:
        """Note that an account has answered, so that it has the prompt (`tokens` of it) now."""
        if pick.affinity is None:
            return
        homes, key = self._homes, (pick.model, pick.affinity)
        warm = homes.get(key)
        if warm is None:
            homes[key] = Warm(pick.lane, tokens, now)
            if len(homes) > self._policy.remembered:
                homes.popitem(last=False)
            return
        warm.lane, warm.tokens, warm.at = pick.lane, tokens, now
        homes.move_to_end(key)
