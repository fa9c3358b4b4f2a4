"""Who tries an account that may be back: one edge at a time, one that has a use for it if there is any. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock_router.messages import Word
    from penstock_router.sessions import EdgeSession, Sessions
    from penstock_routing import Policy
    from penstock_routing.health import Key

_IDLE_SECONDS: Final = 5.0
_UNUSED_SECONDS: Final = 1.0


def fittest(account: str, watching: Iterable[EdgeSession]) -> EdgeSession | None:
    """Return the session to try an account: one whose requests wait for it, else a busy one, by turns."""
    return min(
        watching, key=lambda one: (not one.waits(account), not one.busy(), one.offered_at, one.name), default=None
    )


def seconds_for(session: EdgeSession, policy: Policy) -> float:
    """Return for how long a session has a trial to itself."""
    return policy.trial_seconds if session.busy() else _IDLE_SECONDS


def unused(words: Mapping[Key, Word], sessions: Sessions, now: float) -> list[Key]:
    """Return the half-open returns whose session has had no use for its trial, while others' requests wait.

    Among many edges an account that is seldom asked would else be out until chance leads a request to that one.
    """
    waited_for = {name for session in sessions if session.watches for name in session.waiting()}
    if not waited_for:
        return []
    found = []
    for key, said in words.items():
        holder = sessions.get(said.trial_session) if key.account in waited_for else None
        if holder is not None and holder.offered_at < now - _UNUSED_SECONDS and not holder.uses(key.account):
            found.append(key)
    return found
