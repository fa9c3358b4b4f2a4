"""Who goes first near a limit."""

from __future__ import annotations

from penstock_auth.turns import MOST, Turn, Turns


def turn(until, key="k"):
    return Turn(key, "requests", 0, until, 1, 0)


def test_who_was_denied_first_goes_first_and_keeps_the_place():
    turns = Turns()
    assert turns.ahead("a", 0) == []
    turns.wait("b", turn(1000), 10)
    turns.wait("a", turn(1000), 20)
    assert [t.since for t in turns.ahead("a", 30)] == [10]
    assert turns.ahead("b", 30) == []
    turns.wait("b", turn(2000), 500)
    assert [t.since for t in turns.ahead("new", 600)] == [10, 20]
    turns.done("b")
    assert turns.ahead("a", 600) == []


def test_a_turn_lapses_and_starts_anew():
    turns = Turns()
    turns.wait("a", turn(100), 10)
    assert turns.ahead("b", 100)
    assert turns.ahead("b", 101) == []
    turns.wait("b", turn(900), 150)
    turns.wait("a", turn(900), 200)
    assert [t.since for t in turns.ahead("a", 250)] == [150]


def test_at_the_same_moment_names_decide():
    turns = Turns()
    turns.wait("b", turn(100), 10)
    turns.wait("a", turn(100), 10)
    assert turns.ahead("a", 20) == []
    assert len(turns.ahead("b", 20)) == 1


def test_the_list_is_bounded():
    turns = Turns()
    for i in range(MOST + 50):
        turns.wait(f"n{i}", turn(1000), 0)
    assert len(turns.ahead("z", 1)) == MOST
    turns.wait("late", turn(5000), 2000)
    assert len(turns.ahead("z", 2001)) == 1
