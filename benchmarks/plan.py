"""What is measured: every case of the comparison, who takes part in it, and how long all of it will take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RATE = 4_000
"""Requests a second that come whether the last ones were answered or not: what everybody here can take."""
RATED = f"unary 1 KB, {RATE:,} a second"
KINDS: dict[str, dict[str, Any]] = {
    "unary 1 KB": {"pad": 1_000},
    RATED: {"pad": 1_000, "rate": RATE},
    "unary 100 KB": {"pad": 100_000},
    "unpaced streams": {"stream": True},
    "paced streams": {"stream": True, "paced": True},
}
CONNECTIONS = (1, 16, 64, 256)
TAKING_PART = {
    "messages": ("direct", "nginx", "blind-relay", "penstock", "penstock-compiled", "portkey", "litellm"),
    "chat": ("direct", "nginx", "penstock", "penstock-compiled", "tensorzero", "sglang-router"),
}
RATED_CONNECTIONS = 64
QUICK = {"unary 1 KB": CONNECTIONS, "unary 100 KB": (16,), "unpaced streams": (1, 16), "paced streams": (64,)}
PATIENCE_SECONDS = 5.0
"""A gateway whose CPU would need longer for one request on each connection is not asked for so many."""
DELTAS = 50
"""In each of the mocks' streams."""


class Case(NamedTuple):
    """One load in one format."""

    form: str
    kind: str
    connections: int

    @property
    def streams(self) -> bool:
        """Whether the answers are streams."""
        return bool(KINDS[self.kind].get("stream"))

    @property
    def pauses(self) -> bool:
        """Whether there is nothing to do now and then, however fast a gateway is."""
        return bool(KINDS[self.kind].get("paced") or KINDS[self.kind].get("rate"))

    @property
    def known_by(self) -> str:
        """The kind whose cost tells whether a gateway is fast enough for this."""
        return "unary 1 KB" if self.kind == RATED else self.kind

    def __str__(self) -> str:
        return f"{self.form}, {self.kind}, {self.connections} connection{'s' if self.connections > 1 else ''}"


UNARY = Case("messages", "unary 1 KB", 64)
CHAT = Case("chat", "unary 1 KB", 64)
LARGE = Case("messages", "unary 100 KB", 16)
CHUNKS = Case("messages", "paced streams", 64)
ALONE = Case("messages", "unary 1 KB", 1)
FIRST = Case("messages", "unpaced streams", 1)
JUDGED = (UNARY, CHAT, LARGE, CHUNKS, ALONE, FIRST)
"""What the goals are about (`goals.py`)."""
JUDGED_BESIDE = ("direct", "nginx", "blind-relay", "penstock", "penstock-compiled", "tensorzero")
JUDGED_ROUNDS = 6
"""In all: what two or three rounds have for a median, one noisy minute moves."""
CHECKED = (Case("messages", "unary 1 KB", 16), UNARY, LARGE, CHUNKS, CHAT)
"""What `make bench-check` measures again. Unpaced streams are not there: how many chunks arrive in one read is chance."""


def cases(*, quick: bool) -> list[Case]:
    """List the cases in the order in which they are measured."""
    wanted = QUICK if quick else dict.fromkeys(KINDS, CONNECTIONS) | {RATED: (RATED_CONNECTIONS,)}
    return [Case(form, kind, number) for form in TAKING_PART for kind in wanted for number in wanted[kind]]


class Turn(NamedTuple):
    """One measurement."""

    round: int
    case: Case
    gateway: str


def turns(rounds: int, wanted: Iterable[Case], gateways: Sequence[str]) -> list[Turn]:
    """List the measurements: within a case one gateway after another, beginning with another one in each round."""
    found = []
    for number in range(rounds):
        for case in wanted:
            found += _in_turn(number, case, [*gateways, "direct"])
    return found


def judged_turns(rounds: int, wanted: Iterable[Case], gateways: Sequence[str]) -> list[Turn]:
    """List what is measured beyond so many rounds for the goals' sake: their cases, and who is named in them."""
    those = [case for case in wanted if case in JUDGED]
    found = []
    for number in range(rounds, JUDGED_ROUNDS):
        for case in those:
            found += _in_turn(number, case, [name for name in JUDGED_BESIDE if name in gateways or name == "direct"])
    return found


def _in_turn(number: int, case: Case, gateways: Sequence[str]) -> list[Turn]:
    """List a case's measurements of one round."""
    mine = [name for name in TAKING_PART[case.form] if name in gateways]
    first = number % len(mine)
    return [Turn(number, case, name) for name in mine[first:] + mine[:first]]


def hopeless(case: Case, cpu_us: float | None) -> bool:
    """Say whether a gateway that spent so much on a request (or chunk) of the kind so far is too slow for a case."""
    if cpu_us is None:
        return False
    if case.kind == RATED:
        return cpu_us * RATE > 1e6
    return case.connections * cpu_us * (DELTAS if case.streams else 1) > PATIENCE_SECONDS * 1e6


@dataclass
class Clock:
    """How long what is left will take, by how long the same took before."""

    guess: float
    """Seconds for a measurement of which nothing is known."""
    took: dict[tuple[Case, str], float] = field(default_factory=dict)

    def note(self, turn: Turn, seconds: float) -> None:
        """Remember how long a measurement took."""
        self.took[turn.case, turn.gateway] = seconds

    def left(self, remaining: Iterable[Turn]) -> float:
        """Return seconds."""
        return sum(self.took.get((turn.case, turn.gateway), self.guess) for turn in remaining)
