"""Long work gives way after every stretch, and loses nothing of what it works on."""

from __future__ import annotations

import pytest

from penstock_auth import stretches as module
from penstock_auth.stretches import in_stretches, stretches


@pytest.fixture
def given(monkeypatch):
    """How often somebody else had the processor."""
    times = []
    monkeypatch.setattr(module, "give_way", lambda: times.append(1))
    return times


@pytest.mark.parametrize(("count", "most", "sizes"), [(0, 4, []), (3, 4, [3]), (4, 4, [4]), (9, 4, [4, 4, 1])])
def test_parts_are_whole_and_in_order(given, count, most, sizes):
    parts = list(stretches(range(count), most))
    assert [len(part) for part in parts] == sizes
    assert [each for part in parts for each in part] == list(range(count))
    assert len(given) == len(sizes)


def test_each_of_many_comes_once_while_others_have_their_turns(given):
    seen = []
    for each in in_stretches(range(3 * module.AT_A_STRETCH)):
        seen.append((each, len(given)))
    assert [each for each, _ in seen] == list(range(3 * module.AT_A_STRETCH))
    assert {turns for _, turns in seen} == {0, 1, 2}


class Processor:
    """One that somebody else keeps for `keeps` ms whenever it is given away; times in ms."""

    def __init__(self, keeps: int) -> None:
        self.keeps = keeps
        self.now = 0
        self.worked = 0

    def sched_yield(self) -> None:
        self.now += self.keeps

    def work(self) -> None:
        self.now += 1
        self.worked += 1


@pytest.mark.parametrize(("keeps", "least"), [(0, 1.0), (3, 0.7), (100, 0.7)])
def test_who_computes_beside_a_batch_gets_no_more_than_a_quarter_of_the_time(monkeypatch, keeps, least):
    processor = Processor(keeps)
    monkeypatch.setattr(module, "perf_counter", lambda: processor.now)
    monkeypatch.setattr(module.os, "sched_yield", processor.sched_yield)
    turn = module._Giving()
    for _ in range(1000):
        processor.work()
        turn.give_way()
    assert processor.worked / processor.now >= least


def test_who_needs_it_for_a_moment_gets_it_after_each_stretch(monkeypatch):
    yields = []
    clock = iter(range(10_000))
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(module.os, "sched_yield", lambda: yields.append(1))
    turn = module._Giving()
    for _ in range(10):
        turn.give_way()
        for _ in range(module._KEPT):
            next(clock)
    assert len(yields) == 10
