"""How an attempt failed, in canonical terms: what health rules, the next attempt and perhaps the client must know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_edge.upstream import ConnectionLostError, DeadlineError, PoolFullError, ProxyError, UpstreamError
from penstock_routing import outcomes

if TYPE_CHECKING:
    from penstock_edge.errors import Problem


@dataclass(frozen=True, slots=True)
class Failure:
    """`cls` is a class of the health table; `fault` is set for a client's own fault, in the upstream's words.

    A fault of another class than ClientFault is told only when no other account can do better.
    """

    cls: str
    status: int = 0
    retry_after: float | None = None
    fault: Problem | None = None
    repeatable: bool = True
    """Another account may still serve the request."""
    blames_account: bool = True
    """Tell health rules: False for what happened on our side of the wire."""
    stale: bool = False
    """A kept connection had been closed before we used it: the same account may be asked again, once."""


def of_transport(error: UpstreamError, *, streamed: bool) -> Failure:
    """Return what a failure below HTTP means."""
    if isinstance(error, PoolFullError | ProxyError):
        return Failure(outcomes.UNSTABLE, blames_account=False)
    if isinstance(error, ConnectionLostError) and error.stale:
        return Failure(outcomes.UNSTABLE, blames_account=False, stale=True)
    # The whole body of a unary request went out and no answer came in minutes: doing it again could do it twice.
    late = isinstance(error, DeadlineError) and error.phase == "response" and not streamed
    return Failure(outcomes.UNSTABLE, repeatable=not late)
