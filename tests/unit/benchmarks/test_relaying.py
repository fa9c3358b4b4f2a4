"""A run takes its turns fairly, and its page and plots say what its rows say."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
CPU = {
    "nginx": 15.0,
    "blind-relay": 14.0,
    "penstock": 52.0,
    "penstock-compiled": 41.0,
    "portkey": 650.0,
    "litellm": 8000.0,
    "tensorzero": 88.0,
    "sglang-router": 55.0,
}


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def document(module):
    plan = module("plan")
    rows = [row(turn) for turn in plan.turns(3, plan.cases(quick=False), list(CPU))]
    gateways = [
        {"name": name, "version": "1", "on": "all", "equivalent": "none", "idle_mb": 10.0, "after_mb": 11.0}
        for name in CPU
    ]
    made = {"date": "2026-01-02", "machine": "M", "gateway_core": 0, "other_core": 1, "rounds": 3, "seconds": 1.6}
    return {
        "made": made | {"quick": False, "sampled": "1 %", "traces": 7},
        "gateways": gateways,
        "open_streams": {
            "streams": 1000,
            "seconds": 8,
            "idle_mb": {"penstock": 80.0},
            "mb": {"penstock": [[90.0, 91.0], [91.5], [92.0]]},
            "proportional_mb": {"penstock": 70.0},
        },
        "rows": rows,
    }


def row(turn):
    """Rows whose figures follow from who answered: round 1 is noisy."""
    noise = 2.0 if turn.round == 1 else 1.0
    cpu = CPU.get(turn.gateway, 0.0) * noise
    p50 = 0.03 + cpu / 1000
    found = {**turn.case._asdict(), "gateway": turn.gateway, "round": turn.round, "n": 1000, "errs": 0, "rps": 1000.0}
    found |= {
        "p50_ms": p50,
        "p99_ms": 2 * p50,
        "quantiles_ms": [p50 * times for times in (0.7, 0.8, 1, 1.1, 1.2, 1.5, 2, 5)],
    }
    if turn.gateway != "direct":
        found |= {"cpu_us": cpu, "others": 0.01}
    if turn.case.streams:
        found |= {"first_ms": p50, "transit_ms": 0.1, "transit99_ms": 0.2}
    return found


def test_in_every_round_each_gateway_has_each_case_once_and_another_one_begins(module):
    plan = module("plan")
    wanted = plan.cases(quick=False)
    taken = plan.turns(3, wanted, list(CPU))
    assert len(taken) == len(set(taken)) == 3 * sum(len(plan.TAKING_PART[case.form]) for case in wanted)
    first = [
        next(turn for turn in taken if turn.round == number and turn.case == wanted[0]).gateway for number in range(3)
    ]
    assert len(set(first)) == 3
    # One right after another within a case: what disturbs the machine disturbs all.
    together = [key for key, _ in itertools.groupby(taken, key=lambda turn: (turn.round, turn.case))]
    assert len(together) == len(set(together)) == 3 * len(wanted)


def test_what_goals_are_about_has_more_rounds_for_its_medians(module):
    plan, goals = module("plan"), module("goals")
    wanted = plan.cases(quick=False)
    more = plan.judged_turns(2, wanted, [*CPU])
    assert {turn.round for turn in more} == set(range(2, plan.JUDGED_ROUNDS))
    assert {turn.case for turn in more} == {
        goals.UNARY, goals.CHAT, goals.LARGE, goals.CHUNKS, goals.ALONE, goals.FIRST
    }  # fmt: skip
    # All that a verdict reads: the way past the gateways, the floors, ourselves, and the peer we have to be below.
    those = {name: {turn.case.form for turn in more if turn.gateway == name} for name in CPU}
    assert those["penstock"] == those["penstock-compiled"] == those["nginx"] == {"messages", "chat"}
    assert those["tensorzero"] == {"chat"}
    assert not those["litellm"]
    assert plan.judged_turns(plan.JUDGED_ROUNDS, wanted, [*CPU]) == []


def test_who_is_not_running_has_no_turn(module):
    plan = module("plan")
    taken = plan.turns(1, plan.cases(quick=False), ["nginx"]) + plan.judged_turns(1, plan.cases(quick=False), ["nginx"])
    assert {turn.gateway for turn in taken} == {"direct", "nginx"}


def test_who_speaks_one_format_is_compared_in_that_one(module):
    plan = module("plan")
    asked = {(turn.gateway, turn.case.form) for turn in plan.turns(1, plan.cases(quick=True), list(CPU))}
    assert ("tensorzero", "messages") not in asked
    assert {("nginx", "messages"), ("nginx", "chat"), ("penstock", "messages"), ("penstock", "chat")} <= asked


@pytest.mark.parametrize(
    ("kind", "cpu_us", "hopeless"),
    [
        ("unary 1 KB", None, False),
        ("unary 1 KB", 19_000, False),
        ("unary 1 KB", 20_000, True),
        ("paced streams", 380, False),
        ("paced streams", 400, True),
        ("unary 1 KB, 4,000 a second", 240, False),
        ("unary 1 KB, 4,000 a second", 260, True),
    ],
)
def test_who_is_too_slow_is_not_asked_for_so_much(module, kind, cpu_us, hopeless):
    plan = module("plan")
    assert plan.hopeless(plan.Case("messages", kind, 256), cpu_us) is hopeless


def test_a_rate_is_asked_of_those_who_were_fast_enough_at_their_own_pace(module):
    plan = module("plan")
    [rated] = [case for case in plan.cases(quick=False) if case.form == "chat" and "second" in case.kind]
    assert rated.known_by in plan.KINDS
    assert plan.cases(quick=False).index(plan.Case("chat", rated.known_by, 256)) < plan.cases(quick=False).index(rated)


def test_the_time_that_is_left_is_what_the_same_took_before(module):
    plan = module("plan")
    case = plan.Case("chat", "unary 1 KB", 1)
    clock = plan.Clock(3.0)
    clock.note(plan.Turn(0, case, "nginx"), 5.0)
    assert clock.left([plan.Turn(1, case, "nginx"), plan.Turn(1, case, "penstock")]) == 8.0


def test_figures_are_medians_and_leasts_and_ratios_of_leasts(module, document):
    figures, plan = module("figures"), module("plan")
    found = figures.Figures(document["rows"])
    case = plan.Case("messages", "unary 1 KB", 64)
    assert (found.median(case, "penstock", "cpu_us"), found.least(case, "penstock", "cpu_us")) == (52.0, 52.0)
    assert found.times(case, "penstock") == pytest.approx(52 / 15)
    assert found.added(case, "penstock", "p50_ms") == pytest.approx(0.052)
    assert found.others() == 0.01


def test_the_page_has_a_row_for_each_and_says_why_there_is_no_figure(module, document):
    tables, plan = module("relaying_tables"), module("plan")
    document["gateways"][5] = {"name": "tensorzero", "failed": "no | such version"}
    case = plan.Case("messages", "unpaced streams", 16)
    document["rows"] = [one for one in document["rows"] if one["gateway"] != "tensorzero"]
    for one in document["rows"]:
        mine = (one["form"], one["kind"], one["connections"]) == tuple(case)
        if mine and one["gateway"] == "portkey":
            one.update(n=0, errs=4, err="status 500: x|y")
        if mine and one["gateway"] == "litellm":
            one.update(n=0, slow=True)
    page = tables.section(document)
    assert "| tensorzero | could not be run | no / such version |" in page
    assert "| tensorzero | could not be run | could not be run |" in page
    assert "none succeeded: status 500: x/y" in page
    assert tables.SLOW in page
    assert "| penstock | 52.0 (52.0) · 3.47 × |" in page
    assert "(7 exports arrived)" in page


GOALS = {
    "1 KB, 64 connections": 0,
    "paced chunk": 1,
    "100 KB": 2,
    "below tensorzero": 3,
    "p50": 4,
    "p99": 5,
    "first chunk": 6,
    "1,000 open streams": 7,
    "flat": 8,
}


def test_goals_are_judged_by_the_medians(module, document):
    goals = module("goals")
    found = goals.judged(document)
    met = {name: found[number].met for name, number in GOALS.items()}
    # Added at one connection: 0.052 ms and 0.104 ms, where nginx adds 0.015 and 0.030.
    assert met == dict.fromkeys(GOALS, True) | {"paced chunk": False, "p99": False}
    assert goals.table(found, goals.judged(document, "penstock-compiled")).count("**not met**") == 2 + 1


def test_what_only_the_quietest_round_meets_is_told_apart(module, document):
    goals = module("goals")
    for row in document["rows"]:
        if row["gateway"] == "penstock" and row["kind"] == "unary 1 KB" and row["round"] > 0:
            row["cpu_us"] = 70.0
    one = goals.judged(document)[0]
    assert (one.met, one.once) == (False, True)
    assert goals.table([one], [one]).count("met by the least") == 2
    for row in document["rows"]:
        if row["gateway"] == "penstock" and row["kind"] == "unary 1 KB":
            row["cpu_us"] = 61.0
    one = goals.judged(document)[0]
    assert (one.met, one.once) == (False, False)


def test_a_tail_is_as_long_as_nginxs_allows_in_the_quietest_round(module, document):
    goals = module("goals")
    alone = [row for row in document["rows"] if row["kind"] == "unary 1 KB" and row["connections"] == 1]
    for row in alone:
        row["p99_ms"] = {"direct": 0.1, "nginx": 0.3}.get(row["gateway"], 0.6 if row["round"] == 0 else 0.9)
    one = goals.judged(document)[GOALS["p99"]]
    assert (one.met, one.once) == (False, True)


def test_a_goal_without_figures_is_neither_met_nor_missed(module, document):
    goals = module("goals")
    found = goals.judged(document | {"rows": [], "open_streams": None})
    assert [one.met for one in found] == [None] * len(GOALS)


def test_memory_that_grows_is_not_flat(module, document):
    goals = module("goals")
    document["open_streams"]["mb"]["penstock"] = [[90.0], [99.0], [101.0]]
    assert [one.met for one in goals.judged(document)[7:]] == [False, False]


def test_plots_are_svg_with_every_gateway_for_light_and_dark_pages(module, document):
    plots = module("plots").plots(document)
    assert list(plots) == ["cpu", "latency", "chunks"]
    for text in plots.values():
        root = ET.fromstring(text)
        words = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
        assert all(name in words for name in CPU)
        assert "prefers-color-scheme:dark" in text
        width, height = float(root.get("width")), float(root.get("height"))
        for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
            assert 0 < float(circle.get("cx")) < width
            assert 0 < float(circle.get("cy")) < height


def test_labels_keep_apart_and_within(module):
    plots = module("plots")
    places = sorted(plots._apart([300.0, 301.0, 350.0, 353.0, 120.0]))
    assert min(below - above for above, below in itertools.pairwise(places)) >= plots.LABEL_HEIGHT
    assert places[-1] <= plots.HEIGHT - plots.BOTTOM


def test_a_run_without_rows_draws_nothing(module, document):
    assert module("plots").plots(document | {"rows": []}) == {}


def test_rows_keep_what_the_page_needs_and_say_what_failed(module):
    relaying = module("relaying")
    report = {
        "n": 100,
        "errs": 0,
        "stream": True,
        "rps": 12345.678,
        "p50_ms": 1.23456,
        "p99_ms": 2.0,
        "quantiles_ms": [1.0],
    }
    report |= {"cpu_ms_per_req": 1.0, "beside_ms_per_req": 0.5, "cpu_cores": 0.5, "core_busy": [0.75, 1.0]}
    kept = relaying.kept(report)
    assert (kept["cpu_us"], kept["beside_us"], kept["others"], kept["p50_ms"]) == (20.0, 10.0, 0.25, 1.235)
    assert relaying.kept({"n": 0, "errs": 3, "err": "status 500"}) == {"n": 0, "errs": 3, "err": "status 500"}


def test_a_gateway_that_failed_in_a_case_or_is_too_slow_is_not_tried_again(module, monkeypatch):
    relaying, plan = module("relaying"), module("plan")
    bench = relaying.Bench.__new__(relaying.Bench)
    bench._running = {"litellm": SimpleNamespace(way=lambda form: form, roots=())}
    bench._spent, bench._given_up, bench.gateways, bench.rows = {}, set(), [], []
    asked = []
    spent = {"cpu_ms_per_req": 50.0, "cpu_cores": 1.0, "core_busy": [1.0]}

    def load(_running, _way, *, connections, **_options):
        asked.append(connections)
        answered = 0 if connections == 64 else 10
        return {
            "n": answered,
            "errs": 9,
            "stream": False,
            "rps": 20.0,
            "p50_ms": 1,
            "p99_ms": 1,
            "quantiles_ms": [],
        } | spent

    monkeypatch.setattr(relaying, "load", load)
    for number in range(2):
        for connections in (16, 64, 256):
            bench.take(plan.Turn(number, plan.Case("messages", "unary 1 KB", connections), "litellm"), 1.0)
    assert asked == [16, 64, 16]
    assert [(one["round"], one["connections"], one.get("slow", False)) for one in bench.rows] == [
        (0, 16, False),
        (0, 64, False),
        (0, 256, True),
        (1, 16, False),
    ]
