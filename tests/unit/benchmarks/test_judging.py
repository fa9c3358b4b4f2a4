"""`make bench-check` blames the code for what is dearer beside nginx, and noise for nothing."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def judged(module, ours, floor, committed=4.0, kind="unary 1 KB"):
    judging, plan, figures = module("judging"), module("plan"), module("figures")
    measured = figures.Measured("penstock", next(case for case in plan.CHECKED if case.kind == kind))
    known = {} if committed is None else {measured: committed}
    return judging, judging.judge(known, {measured: judging.Spent(ours, floor)})


@pytest.mark.parametrize(
    ("ours", "floor", "beyond"),
    [
        ([40.0], [10.0], False),
        ([45.9], [10.0], False),
        ([46.1], [10.0], True),
        # Noise only adds: one good round of each is enough.
        ([90.0, 41.0, 70.0], [25.0, 10.0], False),
        # A noisy floor in one round hides nothing that another round shows.
        ([50.0, 49.0], [30.0, 10.0], True),
        ([20.0], [10.0], False),
        # What could not be measured is no pass.
        ([], [10.0], True),
        ([40.0], [], True),
    ],
)
def test_beyond_is_more_than_fifteen_percent_above_what_was_committed(module, ours, floor, beyond):
    judging, verdicts = judged(module, ours, floor)
    assert [verdict.beyond for verdict in verdicts] == [beyond]
    assert bool(judging.suspicious(verdicts)) == beyond


@pytest.mark.parametrize(
    ("ours", "floor", "beyond"),
    [
        # More rounds find a lower least, which proves nothing: 25 / 10 here, and 40 / 10 by what is usual.
        ([40.0, 41.0, 25.0], [10.0, 10.0, 11.0], False),
        ([40.0, 39.0, 41.0], [10.0, 6.0, 10.0], False),
        ([47.0, 47.0, 25.0], [10.0, 10.0, 10.0], True),
    ],
)
def test_where_a_load_pauses_medians_are_compared(module, ours, floor, beyond):
    _, verdicts = judged(module, ours, floor, kind="paced streams")
    assert [verdict.beyond for verdict in verdicts] == [beyond]


def test_a_case_that_was_never_committed_is_told_and_blames_nobody(module):
    judging, verdicts = judged(module, [40.0], [10.0], committed=None)
    assert not judging.suspicious(verdicts)
    assert "never committed" in judging.table(verdicts)


def test_the_table_says_which_case_and_by_how_much(module):
    judging, verdicts = judged(module, [60.0, 52.0], [10.0, 11.0])
    line = judging.table(verdicts).splitlines()[1]
    assert line.split()[0] == "penstock"
    assert str(module("plan").CHECKED[0]) in line
    for word in ("52.0", "10.0", "5.20", "4.00", "+30 %", "DEARER: at most +15 %"):
        assert word in line
    assert "make profile" in judging.ADVICE


def test_a_case_that_could_not_be_measured_says_so(module):
    judging, verdicts = judged(module, [], [])
    assert "not measured" in judging.table(verdicts)


@given(
    ours=st.lists(st.floats(1, 1e4), min_size=1, max_size=5),
    floor=st.lists(st.floats(1, 1e4), min_size=1, max_size=5),
    more=st.lists(st.floats(1, 10), min_size=5, max_size=5),
)
def test_noise_in_further_rounds_of_ours_never_makes_it_dearer(ours, floor, more):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        figures, plan = importlib.import_module("figures"), importlib.import_module("plan")
    before = figures.compared(plan.UNARY, ours, floor)
    noisy = figures.compared(plan.UNARY, [*ours, *(min(ours) * times for times in more)], floor)
    assert noisy <= before


def test_committed_ratios_compare_in_the_same_format_and_as_the_check_does(module):
    figures, plan = module("figures"), module("plan")
    messages, chat = plan.Case("messages", "unary 1 KB", 64), plan.Case("chat", "unary 1 KB", 64)

    def row(case, gateway, number, cpu):
        return {**case._asdict(), "gateway": gateway, "round": number, "n": 10, "errs": 0, "cpu_us": cpu}

    rows = [
        row(messages, "nginx", 0, 20.0),
        row(messages, "nginx", 1, 10.0),
        row(messages, "penstock", 0, 40.0),
        row(messages, "penstock", 1, 55.0),
        row(chat, "nginx", 0, 5.0),
        row(chat, "penstock", 0, 40.0),
        {**row(chat, "penstock", 1, 1.0), "n": 0},
        row(chat, "penstock-compiled", 0, 20.0),
        row(chat, "litellm", 0, 9000.0),
        *(row(plan.CHUNKS, "nginx", number, cpu) for number, cpu in enumerate([10.0, 12.0, 20.0])),
        *(row(plan.CHUNKS, "penstock", number, cpu) for number, cpu in enumerate([20.0, 30.0, 40.0])),
    ]
    assert figures.ratios(rows) == {
        ("penstock", messages): 4.0,
        ("penstock", chat): 8.0,
        ("penstock-compiled", chat): 4.0,
        ("penstock", plan.CHUNKS): 2.5,
    }


def test_whatever_is_checked_is_measured_by_every_run(module):
    plan = module("plan")
    for quick in (False, True):
        assert set(plan.CHECKED) <= set(plan.cases(quick=quick))


def test_what_only_compiled_modules_lose_is_seen(module):
    judging, figures, case = module("judging"), module("figures"), module("plan").UNARY
    ours = [figures.Measured(name, case) for name in figures.OURS]
    spent = {ours[0]: judging.Spent([80.0], [20.0]), ours[1]: judging.Spent([80.0], [20.0])}
    verdicts = judging.judge({ours[0]: 4.0, ours[1]: 3.0}, spent)
    assert judging.suspicious(verdicts) == [ours[1]]
