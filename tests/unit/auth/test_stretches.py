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
