"""Carries out what `issuing` decides: every declared key's Secret is as it should be, one guarded write at a time."""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from penstock_catalog import api_key
from penstock_chassis import logs
from penstock_operator import issuing, metrics
from penstock_operator.cluster import ClusterError, ConflictError, NotFoundError
from penstock_operator.events import Event
from penstock_operator.issuing import Create, Decision, Delete, Patch
from penstock_operator.key_secrets import Holder, KeySecrets
from penstock_operator.kinds import API_KEY, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from penstock_catalog.resources import APIKey
    from penstock_operator.cluster import Object, SecretApi
    from penstock_operator.events import Recorder
    from penstock_operator.seen import Seen

log = logs.get(__name__)

_MOST_WRITES: Final = 500
"""In one turn, so that the first keys of many are in force before the last are made."""
_MOST_SECONDS: Final = 20.0
"""In one turn, in which a write is tried as often as it ever is: what is revoked must not wait for keys to be made."""
_MOST_STEPS: Final = 5


@dataclass(slots=True)
class _Known:
    """A decision, and what it was made of."""

    body: Object
    holder: Holder
    secrets: tuple[Object | None, ...]
    decision: Decision


@dataclass(slots=True)
class Issued:
    """What became of all declared keys. `failures`: why a write could not be done. `more`: not all is done yet."""

    decisions: dict[str, Decision] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    more: bool = False


class Issuer:
    """Brings the Secrets of all declared keys into order."""

    def __init__(self, api: SecretApi, seen: Seen, recorder: Recorder, *, release: str, key_prefix: str) -> None:
        self._api = api
        self._seen = seen
        self._recorder = recorder
        self._release = release
        self._key_prefix = key_prefix
        self._known: dict[str, _Known] = {}
        self._held: tuple[int, KeySecrets] = (-1, KeySecrets())

    async def issue(self, declared: Iterable[APIKey], now: datetime) -> Issued:
        """Decide for every key, and do what there is to do. Never raises for what the API does."""
        result = Issued()
        bodies = self._seen.of(API_KEY)
        known: dict[str, _Known] = {}
        to_do: list[APIKey] = []
        secrets_now = self._secrets()
        for resource in declared:
            body = bodies.get(resource.name)
            if body is None:
                continue
            at = known[resource.name] = self._decide(resource, body, secrets_now, now)
            result.decisions[resource.name] = at.decision
            if at.decision.write is not None:
                to_do.append(resource)
        self._known = known
        result.more = len(to_do) > _MOST_WRITES
        # In any order, so that none is always behind those that take too long.
        chosen = random.sample(to_do, min(len(to_do), _MOST_WRITES))
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                await asyncio.gather(*(self._settle(resource, result, now) for resource in chosen))
        except TimeoutError:
            result.more = True  # What is cut off in the midst of a step is gone on from, as after a restart.
        return result

    def _secrets(self) -> KeySecrets:
        revision, held = self._held
        if revision != self._seen.revision:
            held = KeySecrets(self._seen.of(SECRET).values())
            self._held = self._seen.revision, held
        return held

    def _decide(self, resource: APIKey, body: Object, held: KeySecrets, now: datetime) -> _Known:
        before = self._known.get(resource.name)
        same = before is not None and before.body is body
        holder = before.holder if before is not None and same else Holder.of(resource, body)
        found = held.objects_of(holder)
        if before is not None and same and _are(found, before.secrets):
            due = before.decision.next_check
            if before.decision.write is None and (due is None or now < due):
                return before
        target, others = held.of(holder)
        decision = issuing.decide(
            holder,
            target,
            others,
            release=self._release,
            now=now,
            make_key=lambda: api_key.generate(self._key_prefix, secrets.token_bytes),
        )
        return _Known(body, holder, found, decision)

    async def _settle(self, resource: APIKey, result: Issued, now: datetime) -> None:
        """Take one key's steps until there is nothing to do."""
        known = self._known[resource.name]
        for _ in range(_MOST_STEPS):
            write = known.decision.write
            if write is None:
                return
            try:
                await self._do(write)
            except ConflictError:
                log.info("key_secret_changed", secret=write.name)
                await self._look(write.name)
            except ClusterError as error:
                metrics.WRITES.labels("key", "failed").inc()
                result.failures[resource.name] = str(error)
                return
            else:
                metrics.WRITES.labels("key", "ok").inc()
                for event in known.decision.events:
                    self._recorder.record(known.body, Event(event.type, event.reason, event.message))
            known = self._known[resource.name] = self._decide(resource, known.body, self._held[1], now)
            result.decisions[resource.name] = known.decision
        result.more = True

    async def _do(self, write: Create | Patch | Delete) -> None:
        match write:
            case Create(_, body):
                self._take(await self._api.create_secret(body))
            case Patch(name, body):
                try:
                    self._take(await self._api.patch_secret(name, body))
                except NotFoundError:
                    await self._look(name)
            case Delete(name, uid):
                await self._api.delete_secret(name, uid=uid)
                await self._look(name)

    async def _look(self, name: str) -> None:
        """See what a Secret is now; what cannot be seen now will be seen with the next list."""
        try:
            found = await self._api.get_secret(name)
        except ClusterError:
            return
        if found is not None:
            self._take(found)
        elif (known := self._seen.of(SECRET).get(name)) is not None:
            self._seen.remove(SECRET, known)
            self._held[1].drop(name)

    def _take(self, secret: Object) -> None:
        self._seen.put(SECRET, secret, quiet=True)
        # All Secrets are sorted by their owners once a turn; what is written in it is put beside.
        # One that is of no interest otherwise (a token, say) is known here only: its name is taken all the same.
        self._held[1].take(self._seen.of(SECRET).get(secret["metadata"]["name"], secret))


def _are(found: tuple[Object | None, ...], before: tuple[Object | None, ...]) -> bool:
    """Whether these are the very same objects: what has changed is another one."""
    return len(found) == len(before) and all(one is other for one, other in zip(found, before, strict=True))
