"""Edges that watch: each is told what changed since it was last told. What waits is names, so it is bounded.

Too many conditions become a snapshot. Shares never do: there is one to each account, and it is far shorter than that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from penstock_routing.health import Key


class Watcher:
    """One open stream of one edge session. Changes of one thing coalesce; too many of them become a snapshot."""

    def __init__(self, session: str, limit: int) -> None:
        self.session = session
        self.seq = 0
        self.sent_shares: dict[str, int] = {}
        """Share versions that went out on this stream, by account."""
        self.anew = True
        """The next update is a full snapshot."""
        self.keys: set[Key] = set()
        self.accounts: set[str] = set()
        self.closed = False
        self._limit = limit
        self._wake = asyncio.Event()

    def changed(self, keys: Iterable[Key] = (), accounts: Iterable[str] = ()) -> bool:
        """Note conditions and shares to tell of. False when it was too far behind, and will be sent everything anew."""
        self._wake.set()
        if self.anew:
            return True
        self.keys.update(keys)
        self.accounts.update(accounts)
        if len(self.keys) <= self._limit:
            return True
        self.renew()
        return False

    def renew(self) -> None:
        """Send everything anew, as after a change of the catalog."""
        self.anew = True
        self.keys.clear()
        self.accounts.clear()
        self._wake.set()

    def close(self) -> None:
        """End the stream."""
        self.closed = True
        self._wake.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to tell, at most `seconds`; False when there is nothing."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True


class Watchers:
    """All open streams."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._watchers: set[Watcher] = set()

    def __len__(self) -> int:
        return len(self._watchers)

    def __iter__(self) -> Iterator[Watcher]:
        return iter(tuple(self._watchers))

    def add(self, session: str) -> Watcher:
        """Begin a stream."""
        watcher = Watcher(session, self._limit)
        self._watchers.add(watcher)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """End one."""
        self._watchers.discard(watcher)
