"""What is written down of a run: every request from the client's side, and the course of things over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

from benchmarks.routing.accounts.cache import PromptCache
from benchmarks.routing.capacity import DIMENSIONS, work

if TYPE_CHECKING:
    from benchmarks.routing.accounts.account import Reply
    from benchmarks.routing.accounts.latency import Latency
    from benchmarks.routing.accounts.manners import Manner
    from benchmarks.routing.clients.turns import Turn
    from benchmarks.routing.gateway import Open

SLICE = 10.0
FAIR_SLICE = 60.0
"""Shares are told minute by minute: what nobody wants in one cannot be kept for the next."""
INPUT_PRICE, OUTPUT_PRICE = 3.0e-6, 15.0e-6
"""Dollars a token, as a middle-sized model costs."""


@dataclass(slots=True)
class Course:
    """Counts by slice of ten seconds."""

    asked: dict[int, int] = field(default_factory=dict)
    errors: dict[int, int] = field(default_factory=dict)
    sent: dict[tuple[int, str], int] = field(default_factory=dict)
    work: dict[int, float] = field(default_factory=dict)
    """Scarce work of answers, by when they ended."""


@dataclass(slots=True)
class Metrics:
    """One run's books. Only requests that arrive within [begins, ends) are counted; the course has all."""

    begins: float
    ends: float
    manner: Manner
    latency: Latency
    homes: int
    scarce: dict[str, str]
    asked: int = 0
    turns: int = 0
    """Requests that are no client's retry."""
    errors: int = 0
    """Requests that the gateway answered with an error."""
    turn_errors: int = 0
    """The same of those that are no client's retry."""
    broken: int = 0
    """Answers that broke off after output had begun: no gateway can mend that."""
    lost_turns: int = 0
    attempts: int = 0
    hedges: int = 0
    hedge_money: float = 0.0
    """What attempts cost whose answers were not used."""
    served: int = 0
    waits: list[float] = field(default_factory=list)
    prompt: int = 0
    cached: int = 0
    perfect: int = 0
    money: float = 0.0
    money_saved: float = 0.0
    project_asked: dict[tuple[str, str], float] = field(default_factory=dict)
    project_served: dict[tuple[str, str], float] = field(default_factory=dict)
    fair_asked: dict[tuple[int, str, str], float] = field(default_factory=dict)
    """Work that was asked for, by (minute, project, model) ..."""
    fair_served: dict[tuple[int, str, str], float] = field(default_factory=dict)
    """... and what of that was served, in the minute in which it was asked for."""
    first_error_at: float = -1.0
    statuses: dict[int, int] = field(default_factory=dict)
    course: Course = field(default_factory=Course)
    herd: dict[tuple[int, str], int] = field(default_factory=dict)
    """Requests sent by (second, account)."""
    _homes: list[PromptCache] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the homes of perfect stickiness."""
        self._homes = [PromptCache() for _ in range(self.homes)]

    def perfectly(self, turn: Turn, now: float) -> int:
        """Return what would be cached if its conversation had always met the same account."""
        return self._home(turn).found(turn.model, turn.session, turn.prefix, turn.prefix_tokens, now)

    def _home(self, turn: Turn) -> PromptCache:
        return self._homes[crc32(turn.session.encode()) % self.homes]

    def arrived(self, opened: Open, now: float) -> None:
        """Count a request."""
        slice_ = int(now / SLICE)
        self.course.asked[slice_] = self.course.asked.get(slice_, 0) + 1
        opened.perfect = self.perfectly(opened.turn, now)
        if not self.begins <= now < self.ends:
            return
        opened.counted = True
        self.asked += 1
        turn = opened.turn
        if opened.first:
            self.turns += 1
            amount = self.scarce_work(turn, opened.perfect)
            key = (turn.project, turn.model)
            self.project_asked[key] = self.project_asked.get(key, 0.0) + amount
            minute = self._minute(opened)
            self.fair_asked[minute] = self.fair_asked.get(minute, 0.0) + amount

    def _minute(self, opened: Open) -> tuple[int, str, str]:
        return int((opened.arrived - self.begins) / FAIR_SLICE), opened.turn.project, opened.turn.model

    def scarce_work(self, turn: Turn, cached: int) -> float:
        """Return a turn's use of what is scarce for its model, as if it had met a warm cache."""
        return work(turn, cached, self.manner)[DIMENSIONS.index(self.scarce[turn.model])]

    def sent(self, opened: Open, account: str, now: float) -> None:
        """Count an attempt."""
        slot = (int(now / SLICE), account)
        self.course.sent[slot] = self.course.sent.get(slot, 0) + 1
        second = (int(now), account)
        self.herd[second] = self.herd.get(second, 0) + 1
        if opened.counted:
            self.attempts += 1

    def wrote(self, opened: Open, now: float) -> None:
        """Note that output begins, for the measure of perfect stickiness."""
        turn = opened.turn
        self._home(turn).written(turn.model, turn.session, turn.prefix, turn.prefix_tokens, turn.prompt_tokens, now)

    def delivered(self, opened: Open, reply: Reply, began_at: float, now: float) -> None:
        """Count a whole answer; `began_at`: when its output began."""
        turn = opened.turn
        amount = self.scarce_work(turn, opened.perfect)
        slice_ = int(now / SLICE)
        self.course.work[slice_] = self.course.work.get(slice_, 0.0) + amount
        if self.begins <= now < self.ends:
            key = (turn.project, turn.model)
            self.project_served[key] = self.project_served.get(key, 0.0) + amount
        if not opened.counted:
            return
        self.served += 1
        minute = self._minute(opened)
        self.fair_served[minute] = self.fair_served.get(minute, 0.0) + amount
        usual = self.latency.expected_first(turn.prompt_tokens - opened.perfect, opened.perfect)
        self.waits.append(max(began_at - opened.arrived - usual * reply.draw, 0.0))
        self.prompt += turn.prompt_tokens
        self.cached += reply.cached
        self.perfect += opened.perfect
        self._pay(turn, reply.cached)

    def _pay(self, turn: Turn, cached: int) -> None:
        plain = turn.prompt_tokens * INPUT_PRICE
        paid = self._input_cost(turn, cached)
        self.money += paid + turn.output_tokens * OUTPUT_PRICE
        self.money_saved += plain - paid

    def hedged(self, opened: Open) -> None:
        """Count a second attempt beside the first."""
        self.hedges += opened.counted

    def dropped(self, opened: Open, reply: Reply) -> None:
        """Pay for the prompt of an attempt whose answer is not used."""
        if opened.counted and reply.status == 200:
            self.hedge_money += self._input_cost(opened.turn, reply.cached)

    def _input_cost(self, turn: Turn, cached: int) -> float:
        fresh = turn.prompt_tokens - cached
        return (cached * self.manner.cached_price + fresh * self.manner.written_price) * INPUT_PRICE

    def refused(self, opened: Open, status: int, now: float) -> None:
        """Count an error that the client sees."""
        slice_ = int(now / SLICE)
        self.course.errors[slice_] = self.course.errors.get(slice_, 0) + 1
        if not opened.counted:
            return
        if self.first_error_at < 0:
            self.first_error_at = now
        self.errors += 1
        self.turn_errors += opened.first
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def broke(self, opened: Open) -> None:
        """Count an answer that broke off."""
        self.broken += opened.counted

    def given_up(self) -> None:
        """Count a turn that its client has given up."""
        self.lost_turns += 1
