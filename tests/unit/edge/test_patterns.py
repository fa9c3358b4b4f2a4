from __future__ import annotations

from penstock.auth.v1 import auth_pb2
from penstock_edge import patterns
from penstock_edge.patterns import Patterns


def test_a_pattern_is_made_once_for_each_group():
    known = Patterns()
    assert known.get(("a", 1)) is None
    made = known.keep(("a", 1), auth_pb2.Settlement(project="p"))
    assert auth_pb2.Settlement.FromString(made).project == "p"
    assert known.get(("a", 1)) is made
    assert known.get(("a", 2)) is None


def test_too_many_are_forgotten(monkeypatch):
    monkeypatch.setattr(patterns, "_MOST", 3)
    known = Patterns()
    for number in range(4):
        known.keep((number,), auth_pb2.Settlement(delivered=number))
    assert [known.get((number,)) is None for number in range(4)] == [True, True, True, False]
