"""What routers and auths say: one word of each replica, and what all of them come to. Pure.

Replicas may disagree for a moment. What is said of an account is then the worst of it: it is ready when every router
that knows it says so, and it rests until the last router lets it go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock.auth.v1 import auth_pb2
    from penstock.router.v1 import router_pb2

_TOLERANCE_SECONDS: Final = 2
_MOST_COOLDOWNS: Final = 256


@dataclass(frozen=True, slots=True, order=True)
class Cooldown:
    """A rest of an account, of a model at it, or of an operation. `until` is in Unix seconds."""

    model: str
    operation: str
    reason: str
    until: int


@dataclass(frozen=True, slots=True)
class Sight:
    """How a router sees one account."""

    ready: bool
    reason: str
    message: str = ""
    cooldowns: tuple[Cooldown, ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """What one replica said last. `sessions`: the router's catalog version that each edge session has loaded."""

    version: str
    sessions: Mapping[str, str] = field(default_factory=dict)
    accounts: Mapping[str, Sight] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fleet:
    """All replicas of one component: what they say, and those that have said nothing for too long."""

    words: Mapping[str, Word] = field(default_factory=dict)
    silent: tuple[str, ...] = ()

    @property
    def serving(self) -> Mapping[str, Word]:
        """The words of those that have a catalog; one that has none yet serves nobody."""
        return {address: word for address, word in self.words.items() if word.version}


def of_router(message: router_pb2.Observed, before: Word | None, now: float) -> Word:
    """Read a router's word. An `until` that has hardly moved is the one that was said before."""
    known = before.accounts if before is not None else {}
    return Word(
        version=message.catalog_version,
        sessions=dict(message.edge_sessions),
        accounts={
            row.name: Sight(
                ready=row.ready,
                reason=row.reason or ("Ready" if row.ready else "NotReady"),
                message=row.message,
                cooldowns=_cooldowns(row.cooldowns, known.get(row.name), now),
            )
            for row in message.accounts
        },
    )


def of_auth(message: auth_pb2.Observed) -> Word:
    """Read an auth's word."""
    return Word(version=message.catalog_version, sessions=dict(message.edge_sessions))


def account(fleet: Fleet, name: str) -> Sight | None:
    """Return what all routers come to about an account; None when none of them knows it."""
    sights = [word.accounts[name] for _, word in sorted(fleet.serving.items()) if name in word.accounts]
    if not sights:
        return None
    if len(sights) == 1:
        return sights[0]
    said = next((sight for sight in sights if not sight.ready), sights[0])
    latest: dict[tuple[str, str], Cooldown] = {}
    for cooldown in sorted((cooldown for sight in sights for cooldown in sight.cooldowns), key=lambda one: one.until):
        latest[cooldown.model, cooldown.operation] = cooldown
    return Sight(said.ready, said.reason, said.message, tuple(sorted(latest.values()))[:_MOST_COOLDOWNS])


def sessions(routers: Fleet, auths: Fleet) -> dict[str, str]:
    """Return the router's catalog version of each edge session that has one, by the routers' word before auths'."""
    known = {name: version for word in auths.words.values() for name, version in word.sessions.items() if version}
    for word in routers.words.values():
        known.update({name: version for name, version in word.sessions.items() if version})
    return known


def _cooldowns(rows: Iterable[router_pb2.Cooldown], before: Sight | None, now: float) -> tuple[Cooldown, ...]:
    known = {(one.model, one.operation): one for one in before.cooldowns} if before is not None else {}
    found = []
    for row in rows:
        if row.remaining_ms <= 0:
            continue  # Its time is over: it takes one request to try it, or already more.
        last = known.get((row.model, row.operation))
        until = round(now + row.remaining_ms / 1000)
        same = last is not None and abs(last.until - until) <= _TOLERANCE_SECONDS
        cls = getattr(row, "class")
        found.append(Cooldown(row.model, row.operation, cls, last.until if same and last is not None else until))
    return tuple(sorted(found)[:_MOST_COOLDOWNS])
