"""A catalog document from its Secrets: a new one when the head and all its shards fit, else the last good one stays.

Level by level: look at the head, fetch the shards that it names and that are not at hand, hand the document over, wait
until the head changes or a minute has passed, look again. An event only wakes; what it says is never used.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol

from penstock_catalog import shards
from penstock_catalog.cluster_secrets import ClusterError, ExpiredError, Look
from penstock_catalog.documents import AnyDocument, DocumentError
from penstock_catalog.shards import UnfitShardsError

_AGAIN_SECONDS = 60.0
_UNFIT_BASE, _UNFIT_MOST = 0.05, 1.0
_DOWN_BASE, _DOWN_MOST = 0.2, 5.0
_PATIENT_LOOKS = 4
_PACE_SECONDS = 0.05


class Secrets(Protocol):
    """The Secrets of a namespace: `penstock_catalog.cluster_secrets.ClusterSecrets`. All calls raise ClusterError."""

    namespace: str

    async def get(self, name: str) -> bytes | None:
        """Return a Secret's payload."""

    async def look(self, name: str) -> Look:
        """Return a Secret's payload and the place from where to watch it."""

    async def changed(self, name: str, resource_version: str) -> bool:
        """Wait for a change of a Secret, with an end."""

    async def close(self) -> None:
        """Close what was opened."""


class SecretSource(Generic[AnyDocument]):
    """The catalog document in the Secrets that begin with a prefix.

    `on_problem` hears why a document is not taken up: each reason when it comes, and once a minute while it lasts. That
    shards do not fit is normal while they are written, so it is told when it has lasted for a few looks.
    """

    def __init__(
        self,
        secrets: Secrets,
        prefix: str,
        kind: type[AnyDocument],
        *,
        on_problem: Callable[[str], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secrets = secrets
        self._prefix = prefix
        self._kind = kind
        self._on_problem = on_problem
        self._monotonic = monotonic
        self._held: dict[str, bytes] = {}
        self._told, self._told_at = "", 0.0
        self._failures = 0

    async def changes(self) -> AsyncIterator[AnyDocument]:
        """Give the document as soon as there is one, and again whenever its version changes; for ever."""
        version = ""
        try:
            while True:
                look = await self._look()
                if look is None:
                    continue
                try:
                    document = await self._take(look.payload, version)
                except UnfitShardsError as error:
                    await self._rest_unfit(str(error))
                    continue
                except ClusterError as error:
                    await self._rest(error)
                    continue
                except DocumentError as error:
                    # Only another head can mend this, and it wakes us.
                    self._tell(str(error))
                else:
                    if document is not None:
                        version = document.version
                        yield document
                await self._wait(look.resource_version)
        finally:
            await self._secrets.close()

    async def _look(self) -> Look | None:
        try:
            return await self._secrets.look(shards.head_name(self._prefix))
        except ClusterError as error:
            await self._rest(error)
            return None

    async def _take(self, payload: bytes | None, version: str) -> AnyDocument | None:
        """Put the document of this head together; None when it is the one that was given last."""
        name = shards.head_name(self._prefix)
        if payload is None:
            raise DocumentError(
                f"there is no Secret {name} with {shards.PAYLOAD} in namespace {self._secrets.namespace}; "
                "the operator writes it"
            )
        head = shards.read_head(payload, self._kind, name)
        if head.version == version:
            return None
        held = {digest: self._held[digest] for digest in head.shards if digest in self._held}
        self._held = held
        found = [await self._shard(index, expected, held) for index, expected in enumerate(head.shards)]
        # A document of 2,000 keys takes tens of milliseconds.
        return await asyncio.to_thread(shards.join, head, found, self._kind, self._prefix)

    async def _shard(self, index: int, expected: str, held: dict[str, bytes]) -> bytes | None:
        if expected in held:
            return held[expected]
        payload = await self._secrets.get(shards.shard_name(self._prefix, index))
        if payload is not None and shards.digest(payload) == expected:
            held[expected] = payload
        return payload

    async def _wait(self, resource_version: str) -> None:
        try:
            await self._secrets.changed(shards.head_name(self._prefix), resource_version)
        except ExpiredError as error:
            await asyncio.sleep(self._pause(_DOWN_BASE, _DOWN_MOST, error.pause))
        except ClusterError as error:
            await self._rest(error)
        else:
            self._failures, self._told = 0, ""
            # Changes in a row are one look, and a watch that always wakes is no storm.
            await asyncio.sleep(_PACE_SECONDS)

    async def _rest(self, error: ClusterError) -> None:
        self._tell(str(error))
        await asyncio.sleep(self._pause(_DOWN_BASE, _DOWN_MOST, error.pause))

    async def _rest_unfit(self, reason: str) -> None:
        if self._failures + 1 >= _PATIENT_LOOKS:
            self._tell(reason)
        await asyncio.sleep(self._pause(_UNFIT_BASE, _UNFIT_MOST))

    def _pause(self, base: float, most: float, at_least: float = 0.0) -> float:
        """Return how long to rest after one more failure: twice as long each time, up to a limit, with jitter."""
        seconds = min(most, base * 2.0 ** min(self._failures, 16)) * random.uniform(0.5, 1.0)
        self._failures += 1
        return max(at_least, seconds)

    def _tell(self, reason: str) -> None:
        now = self._monotonic()
        if reason != self._told or now - self._told_at >= _AGAIN_SECONDS:
            self._told, self._told_at = reason, now
            self._on_problem(reason)
