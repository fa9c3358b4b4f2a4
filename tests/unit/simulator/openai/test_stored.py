from penstock_simulator.openai.stored import Stored


def item(name):
    return {"id": name}


def test_turns_and_items_are_found():
    stored = Stored()
    stored.add("r1", [1, item("a")], [item("a")], 10)
    assert stored.turn("r1").items == [1, item("a")]
    assert stored.item("a") == item("a")
    assert stored.turn("r2") is None
    assert stored.item("b") is None


def test_the_oldest_is_forgotten_with_its_items():
    stored = Stored(limit_bytes=25)
    for name in "abc":
        stored.add(f"r{name}", [], [item(name)], 10)
    assert len(stored) == 2
    assert stored.turn("ra") is None
    assert stored.item("a") is None
    assert stored.item("c") is not None


def test_one_that_is_too_large_is_not_kept():
    stored = Stored(limit_bytes=25)
    stored.add("r1", [], [item("a")], 26)
    assert (len(stored), stored.turn("r1"), stored.item("a")) == (0, None, None)
    stored.add("r2", [], [item("b")], 25)
    assert stored.turn("r2") is not None
