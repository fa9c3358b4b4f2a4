"""What is measured runs on a Python as images carry it, where the machine has one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
OURS, OTHER, THIRD = Path("/ours"), Path("/other"), Path("/third")


@pytest.fixture
def quickest(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("quickest")


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({OURS: 0.04}, OURS),
        ({OURS: 0.04, OTHER: 0.03}, OTHER),
        ({OURS: 0.04, OTHER: 0.03, THIRD: 0.02}, THIRD),
        # Noise does not choose.
        ({OURS: 0.04, OTHER: 0.037}, OURS),
        ({OURS: 0.04, OTHER: 0.05}, OURS),
        # Ours has no headers: it cannot compile.
        ({OTHER: 0.05}, OTHER),
        ({}, OURS),
    ],
)
def test_another_one_is_chosen_where_it_is_clearly_quicker(quickest, seconds, chosen):
    assert quickest.chosen(seconds, OURS) == chosen


def test_each_is_asked_once_whatever_its_names(quickest, tmp_path):
    real = Path(sys.executable).resolve()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "python3").symlink_to(real)
    (tmp_path / "two/python3.12").touch(mode=0o644)
    assert quickest.candidates([str(tmp_path / "one"), str(tmp_path / "two"), "", "/nowhere"]) == {real}


def test_what_does_not_run_has_no_time(quickest, tmp_path):
    broken = tmp_path / "python3"
    broken.write_text("no program")
    broken.chmod(0o755)
    assert quickest.seconds_of(broken) is None
    assert quickest.seconds_of(tmp_path / "none") is None


def test_one_that_runs_has_a_time(quickest, monkeypatch):
    monkeypatch.setattr(quickest, "ASKED", "print(0.25)")
    assert quickest.seconds_of(Path(sys.executable)) == 0.25


def test_the_least_of_several_rounds_counts_and_who_cannot_is_asked_once(quickest, monkeypatch):
    times = {OURS: [0.04, 0.09, 0.05], OTHER: [0.09, 0.03, 0.06], THIRD: [None]}
    monkeypatch.setattr(quickest, "seconds_of", lambda python: times[python].pop(0))
    assert quickest.least(times, rounds=3) == {OURS: 0.04, OTHER: 0.03}
    assert times == {OURS: [], OTHER: [], THIRD: []}
