"""Marks on every node of a Redis Cluster: when one is missing, that node has forgotten what was counted there.

The epoch is in one place, so a node that came back empty, or was flushed alone, would otherwise go unnoticed: its
projects would be rebuilt from the ledger without what is lent and open. Keys are spread over all slots, so that nodes
with a fair part of them have some of these; they move with their slots, and a replica has them too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from penstock_auth.counters import StoreDown

if TYPE_CHECKING:
    from penstock_auth.scripts import Runner

KEYS: Final = tuple(f"penstock:{{mark:{place}}}" for place in range(128))
_AT_ONCE: Final = 16


async def write(runner: Runner, epoch: str) -> bool:
    """Mark all nodes; False when one of them could not be reached."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(key: str) -> bool:
        async with places:
            try:
                await runner.command(key, "SET", key, epoch)
            except StoreDown:
                return False
            return True

    return all(await asyncio.gather(*(one(key) for key in KEYS)))


async def missing(runner: Runner) -> bool:
    """Say whether a node that answers has lost its mark."""

    async def lost(key: str) -> bool:
        try:
            return await runner.command(key, "GET", key) is None
        except StoreDown:
            return False

    return any(await asyncio.gather(*(lost(key) for key in runner.one_of_each(KEYS))))
