"""The router's state in its own memory, and in a file when there is one, so that a restarted router remembers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_catalog.documents import write_private
from penstock_router.stores import Reading, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from penstock_router.stores import Change

_FORMAT: Final = 1


class _File(msgspec.Struct):
    format: int
    counter: int
    kinds: dict[str, dict[str, tuple[int, bytes]]]


class MemoryStore:
    """For one router alone. `clock` is Unix seconds; `path` is written by `flush`, at most as often as it is called."""

    name = "memory"
    shared = False

    def __init__(self, clock: Callable[[], float], path: Path | None = None) -> None:
        self._clock = clock
        self._path = path
        self._kinds: dict[str, dict[str, Row]] = {}
        self._counter = 0
        self._flushed = 0
        self.remembers = False
        """State of an earlier life was found."""
        self._load()

    async def read(self, kind: str) -> Reading:
        """Return all rows of `kind`."""
        return Reading(self._clock(), dict(self._kinds.get(kind, {})))

    async def write(self, kind: str, changes: Sequence[Change]) -> Mapping[str, int]:
        """Apply each change whose row is still as expected."""
        rows = self._kinds.setdefault(kind, {})
        applied: dict[str, int] = {}
        for change in changes:
            known = rows.get(change.name)
            if (known.version if known is not None else 0) != change.expected:
                continue
            self._counter += 1
            if change.body is None:
                rows.pop(change.name, None)
                applied[change.name] = 0
            else:
                rows[change.name] = Row(self._counter, change.body)
                applied[change.name] = self._counter
        return applied

    async def flush(self) -> None:
        """Write the file if anything changed. OSError when the disk refuses; memory goes on."""
        if self._path is None or self._flushed == self._counter:
            return
        counter = self._counter
        await asyncio.to_thread(write_private, self._path, self._encoded())
        self._flushed = counter

    async def close(self) -> None:
        """Write the file a last time."""
        await self.flush()

    def _encoded(self) -> bytes:
        kinds = {
            kind: {name: (row.version, row.body) for name, row in rows.items()} for kind, rows in self._kinds.items()
        }
        return msgspec.msgpack.encode(_File(_FORMAT, self._counter, kinds))

    def _load(self) -> None:
        if self._path is None:
            return
        try:
            kept = msgspec.msgpack.decode(self._path.read_bytes(), type=_File)
        except (OSError, msgspec.MsgspecError):
            return
        if kept.format != _FORMAT:
            return
        self._counter = self._flushed = kept.counter
        self._kinds = {
            kind: {name: Row(version, body) for name, (version, body) in rows.items()}
            for kind, rows in kept.kinds.items()
        }
        self.remembers = True
