"""The way to an account: what is the same for all that is sent to it, worked out once for each of its facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_edge.upstream import ConnectError, Deadlines, parse_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.upstream import Target
    from penstock_routing import AccountFacts


class Way:
    """One account's endpoint, credential and deadlines."""

    __slots__ = ("_longest", "_streamed", "_whole", "account", "credential", "target")

    def __init__(self, account: AccountFacts) -> None:
        times = account.timeouts
        self.account = account
        try:
            self.target: Target = parse_target(account.base_url, account.allow_private_address)
        except ValueError:
            raise ConnectError("the account's base URL cannot be used") from None
        self.credential = account.api_key.encode()
        self._whole = Deadlines(times.connect, times.first_byte, times.idle, times.response, streamed=False)
        self._streamed = self._whole._replace(streamed=True)
        self._longest = max(times.connect, times.first_byte, times.response)

    def deadlines(self, left: float, *, streamed: bool) -> Deadlines:
        """Return the deadlines of a request that has `left` seconds until its output must have begun."""
        usual = self._streamed if streamed else self._whole
        if left >= self._longest:
            return usual
        left = max(0.001, left)
        return usual._replace(
            connect=min(usual.connect, left),
            first_byte=min(usual.first_byte, left),
            response=min(usual.response, left),
        )


class Ways:
    """The ways to all accounts; made when first needed, and anew when the account's facts have changed.

    `facts` says what an account is now, None when it is gone: the credential of such a one is not kept.
    """

    def __init__(self, facts: Callable[[str], AccountFacts | None]) -> None:
        self._facts = facts
        self._known: dict[str, Way] = {}

    def to(self, account: AccountFacts) -> Way:
        """Return the way to an account. Raises ConnectError when there is none."""
        way = self._known.get(account.name)
        if way is None or way.account is not account:
            self._known = {name: old for name, old in self._known.items() if self._facts(name) is old.account}
            way = self._known[account.name] = Way(account)
        return way
