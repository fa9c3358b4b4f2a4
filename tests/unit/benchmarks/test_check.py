"""`make bench-check` measures nginx and ours right after each other, and repeats only what looks dearer."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


class Bench:
    """Keeps what it was asked for; one gateway may fail."""

    def __init__(self, failing=""):
        self.turns = []
        self._failing = failing

    def take(self, turn, seconds):
        self.turns.append(turn)
        if turn.gateway == self._failing:
            return {"n": 0, "errs": 3, "err": "refused"}
        return {"n": 10, "errs": 0, "others": 0.25, "cpu_us": 10.0 if turn.gateway == "nginx" else 40.0}


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("check"), importlib.import_module("plan"), importlib.import_module("figures")


def test_a_round_measures_case_by_case_and_the_next_one_the_other_way_round(modules):
    check, plan, figures = modules
    bench = Bench()
    going = check.Check(bench, figures.OURS, 1.0, time.monotonic() + 60)
    assert going.round(going.spent)
    assert [(turn.case, turn.gateway) for turn in bench.turns] == [
        (case, name) for case in plan.CHECKED for name in ("nginx", "penstock", "penstock-compiled")
    ]
    assert all((spent.ours, spent.floor) == ([40.0], [10.0]) for spent in going.spent.values())
    bench.turns.clear()
    one = figures.Measured("penstock-compiled", plan.CHUNKS)
    assert going.round([one])
    assert [turn.gateway for turn in bench.turns] == ["penstock-compiled", "nginx"]
    assert going.spent[one].ours == [40.0, 40.0]
    assert going.others == [0.25] * 17


def test_what_failed_is_no_figure(modules):
    check, _, figures = modules
    going = check.Check(Bench(failing="penstock"), figures.OURS, 1.0, time.monotonic() + 60)
    going.round(going.spent)
    for measured, spent in going.spent.items():
        assert spent.ours == ([] if measured.gateway == "penstock" else [40.0])
        assert spent.floor == [10.0]


def test_nothing_begins_when_the_time_is_up(modules):
    check, _, figures = modules
    bench = Bench()
    going = check.Check(bench, figures.OURS, 1.0, time.monotonic() - 1)
    assert not going.round(going.spent)
    assert bench.turns == []
