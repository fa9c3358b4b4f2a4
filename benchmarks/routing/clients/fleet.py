"""All clients at work: conversations begin by chance and take their turns, whatever the gateway answers."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from benchmarks.routing.accounts.latency import Latency

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.routing.clients.mix import Mix, Project
    from benchmarks.routing.clients.turns import Turn
    from benchmarks.routing.engine import Engine
    from benchmarks.routing.gateway import Gateway


_BEFORE = 3600.0
_USUAL = Latency()


class Client:
    """One conversation at its work."""

    __slots__ = ("_again", "_fleet", "_retries", "_rng", "_turn", "_turns")

    def __init__(self, fleet: Fleet, turns: Iterator[Turn], rng: Random) -> None:
        self._fleet = fleet
        self._turns = turns
        self._rng = rng
        self._turn: Turn | None = None
        self._retries = self._again = 0

    def begin(self) -> None:
        """Take the next turn after its gap; nothing when there is none."""
        self._turn = next(self._turns, None)
        if self._turn is not None:
            self._retries = self._again = 0
            self._fleet.engine.after(self._turn.gap, self._ask, True)

    def resume(self, turn: Turn, at: float) -> None:
        """Take this turn at `at`: a conversation that was under way before time began."""
        self._turn = turn
        self._fleet.engine.at(at, self._ask, True)

    def _ask(self, first: bool) -> None:
        assert self._turn is not None
        self._fleet.gateway.ask(self._turn, self._answered, first=first)

    def _answered(self, status: int, retry_after: float) -> None:
        patience, engine = self._fleet.patience, self._fleet.engine
        if status == 200:
            self.begin()
        elif self._retries < patience.retries:
            pause = min(0.5 * 2.0**self._retries, 8.0) * (1.0 - 0.25 * self._rng.random())
            if 0 < retry_after <= 60:
                pause = retry_after
            self._retries += 1
            engine.after(pause, self._ask, False)
        elif self._again < patience.again:
            self._again += 1
            self._retries = 0
            engine.after(patience.again_seconds * (0.5 + self._rng.random()), self._ask, False)
        else:
            self._fleet.gateway.metrics.given_up()
            self.begin()


class Fleet:
    """Starts the conversations of a mix. `rates`: begun per second, by project and model, at a factor of 1."""

    def __init__(
        self, engine: Engine, gateway: Gateway, mix: Mix, rates: Mapping[tuple[str, str], float], seed: str
    ) -> None:
        self.engine = engine
        self.gateway = gateway
        self.patience = mix.patience
        self._mix = mix
        self._seed = seed
        self._count = 0
        for project in mix.projects:
            for model in mix.models:
                rate = rates[project.name, model]
                if project.burst_every:
                    rate = max(rate - project.burst_size / project.burst_every, rate / 10)
                rng = Random(f"{seed}/{project.name}/{model}")
                self._under_way(project, model, rate, rng)
                self._next(project, model, rate, rng)
                if project.burst_every:
                    self._next_burst(project, model, Random(f"{seed}/burst/{project.name}/{model}"))

    def _conversation(self, project: Project, model: str) -> tuple[Iterator[Turn], Random]:
        self._count += 1
        name = f"{project.name}-{self._count}"
        rng = Random(f"{self._seed}/{name}")
        return project.way.session(project.name, name, model, rng), rng

    def _next(self, project: Project, model: str, rate: float, rng: Random) -> None:
        """Begin conversations by chance; a shape above 1 thins a faster stream."""
        highest = 1.0
        if self._mix.shape is not None:
            highest = 1.5
        self.engine.after(rng.expovariate(rate * highest), self._arrive, project, model, rate, rng, highest)

    def _arrive(self, project: Project, model: str, rate: float, rng: Random, highest: float) -> None:
        factor = self._mix.shape(self.engine.now) if self._mix.shape is not None else 1.0
        if highest == 1.0 or rng.random() * highest < factor:
            turns, own = self._conversation(project, model)
            Client(self, turns, own).begin()
        self._next(project, model, rate, rng)

    def _next_burst(self, project: Project, model: str, rng: Random) -> None:
        self.engine.after(rng.expovariate(1 / project.burst_every), self._burst, project, model, rng)

    def _burst(self, project: Project, model: str, rng: Random) -> None:
        for _ in range(project.burst_size):
            turns, own = self._conversation(project, model)
            self.engine.after(2.0 * rng.random(), Client(self, turns, own).begin)
        self._next_burst(project, model, rng)

    def _under_way(self, project: Project, model: str, rate: float, rng: Random) -> None:
        """Put down the conversations that began in the hours before, at the turn where they would be."""
        factor = self._mix.shape(0.0) if self._mix.shape is not None else 1.0
        began = -_BEFORE
        while True:
            began += rng.expovariate(rate * factor)
            if began >= 0:
                return
            turns, own = self._conversation(project, model)
            at = began
            for turn in turns:
                at += turn.gap
                if at >= 0:
                    Client(self, turns, own).resume(turn, at)
                    break
                at += _USUAL.expected_first(2_000, turn.prompt_tokens) + turn.output_tokens / _USUAL.decode
