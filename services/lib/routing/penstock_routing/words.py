"""An explanation in words: for the admin API, and for the header that some clients are shown. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from penstock_routing import outcomes as o

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from penstock_routing.candidates import Candidate

TAKEN: Final = "taken"
NEXT: Final = "next"
COOLING: Final = "cooling"
RETURNING: Final = "returning"
FULL: Final = "full"
DROPPED: Final = "dropped"
CLOSED: Final = "closed"
TRIED: Final = "tried"

_ELIGIBLE: Final = "Eligible"
_VERDICTS: Final[Mapping[str, str]] = {
    o.THROTTLED: COOLING,
    o.THROTTLED_NO_HINT: COOLING,
    o.OVERLOADED: COOLING,
    o.UNSTABLE: COOLING,
    o.CREDENTIAL_INVALID: COOLING,
    o.FORBIDDEN: COOLING,
    o.QUOTA_EXHAUSTED: COOLING,
    o.MODEL_MISSING: COOLING,
    "HalfOpen": RETURNING,
    "Returning": RETURNING,
    "SlotsFull": FULL,
    "RequestsSpent": FULL,
    "TokensSpent": FULL,
    "UpstreamSpent": FULL,
    "UpstreamFull": FULL,
    "OtherProvider": DROPPED,
}


def verdict(candidate: Candidate) -> str:
    """Return what became of a candidate, in a word."""
    if candidate.eligible:
        return TAKEN if candidate.rank == 1 else NEXT
    # What is none of these is the account's own mode: Draining, Disabled, ProviderNotServed, ...
    return _VERDICTS.get(candidate.reason, CLOSED)


def why(candidate: Candidate, candidates: Sequence[Candidate], *, affinity: bool) -> str:
    """Return why that became of it; `affinity`: the request's session or prefix is worth keeping together."""
    if not candidate.eligible or candidate.reason != _ELIGIBLE:
        return candidate.reason
    return _chosen_by(candidate, candidates, (), affinity=affinity) if candidate.rank == 1 else ""


def route(
    candidates: Sequence[Candidate],
    tried: Mapping[str, str],
    taken: str,
    *,
    affinity: bool,
    despite: bool = False,
    most_bytes: int,
) -> str:
    """Return one line that tells of every candidate, such as `b=tried(Overloaded), c=taken(affinity), d=next`.

    `tried` are the accounts that failed this request, in order, with their class; `taken` the one that serves it, ""
    when none does, `despite`: although it cools. What is not said for want of room is counted at the end.
    """
    others = {each.account: each for each in candidates if each.account not in tried and each.account != taken}
    parts = [f"{name}={TRIED}({cls})" for name, cls in tried.items() if name != taken]
    if taken:
        why_taken = "storm" if despite else _why_taken(candidates, tried, taken, affinity=affinity)
        parts.append(f"{taken}={TAKEN}{_in_brackets(why_taken)}")
    parts += [f"{each.account}={_other(each)}" for each in others.values()]
    return _joined(parts, most_bytes)


def _why_taken(candidates: Sequence[Candidate], tried: Mapping[str, str], taken: str, *, affinity: bool) -> str:
    mine = next((each for each in candidates if each.account == taken), None)
    if mine is None:
        return ""
    if mine.reason == "HalfOpen":
        return "trial"
    if mine.reason == "Warm":
        return "affinity"
    # One without room has none because this request has it.
    return _chosen_by(mine, candidates, tried, affinity=affinity) if mine.eligible else "load"


def _chosen_by(mine: Candidate, candidates: Sequence[Candidate], tried: Container[str], *, affinity: bool) -> str:
    """Return what chose it among those that could be chosen."""
    rivals = [
        each
        for each in candidates
        if each is mine
        or (each.eligible and each.reason == _ELIGIBLE and each.tier == mine.tier and each.account not in tried)
    ]
    if len(rivals) == 1:
        return "only one left" if len(candidates) > 1 else "only one"
    return "affinity" if affinity and mine.score >= max(each.score for each in rivals) else "load"


def _other(candidate: Candidate) -> str:
    if candidate.eligible:
        return NEXT + ("" if candidate.reason == _ELIGIBLE else f"({candidate.reason})")
    seconds = f" {math.ceil(candidate.seconds)}s" if 0 < candidate.seconds < math.inf else ""
    return f"{verdict(candidate)}({candidate.reason}{seconds})"


def _in_brackets(text: str) -> str:
    return f"({text})" if text else ""


def _joined(parts: Sequence[str], most_bytes: int) -> str:
    line = ""
    for index, part in enumerate(parts):
        left = f", {len(parts) - index} more"
        if len(line) + len(part) + 2 + len(left) > most_bytes:
            return f"{line}{left}".removeprefix(", ")
        line = f"{line}, {part}" if line else part
    return line
