"""A quota over hours, as subscriptions have: so many tokens from the first request on for five hours, then anew."""

from __future__ import annotations

HOURS_5 = 5 * 3600.0


class Window:
    """`tokens` may be used within `seconds` from the first use; a 429 then names the end of the window."""

    __slots__ = ("_ends", "_left", "seconds", "tokens", "used")

    def __init__(self, tokens: float, seconds: float = HOURS_5) -> None:
        self.tokens = tokens
        self.seconds = seconds
        self.used = 0.0
        self._left = tokens
        self._ends = 0.0

    def open_in(self, now: float) -> float:
        """Return the seconds until a request may pass; 0 when it may now."""
        if now >= self._ends or self._left > 0:
            return 0.0
        return self._ends - now

    def take(self, tokens: float, now: float) -> None:
        """Count what a request used; the first after the end begins a new window."""
        if now >= self._ends:
            self._ends = now + self.seconds
            self._left = self.tokens
        self._left -= tokens
        self.used += tokens
