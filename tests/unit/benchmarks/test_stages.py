"""A profile's samples fall to the stages of a request."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
LOOP = "run_forever (uvloop/loop.pyx:1)"
SPOOL = f"{LOOP};open (penstock_edge/spool.py:90)"


@pytest.fixture
def stages(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("stages")


def test_samples_fall_to_stages(stages):
    counts, leaves = stages.by_stage([f"{SPOOL} 3", f"{LOOP} 2", f"{SPOOL} 1"])
    assert counts == {"spool": 4, "socket and loop": 2}
    assert leaves["spool"] == {"spool.py:open": 4}


@pytest.mark.parametrize("torn", ["", "MainThread", f"{LOOP};op (", "<frozen (x.py:1) \x00"])
def test_a_torn_sample_counts_for_nothing(stages, torn):
    assert stages.by_stage([torn, f"{SPOOL} 3"])[0] == {"spool": 3}


WRITE = f"{LOOP};try_whole (penstock_edge/direct_turn.py:200);write (penstock_edge/corking.py:90)"
RELEASED = f"{LOOP};release (penstock_edge/corking.py:66);flush (penstock_edge/corking.py:120)"


@pytest.mark.parametrize(("stack", "stage"), [(WRITE, "front"), (RELEASED, "socket and loop")])
def test_a_send_is_whose_it_is_unless_it_waited_for_others(stages, stack, stage):
    assert stages.by_stage([f"{stack} 1"])[0] == {stage: 1}
