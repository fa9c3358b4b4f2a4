"""Who has loaded what, told from versions that say nothing of before and after."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.conditions import false, true, unknown
from penstock_operator.programmed import Published, side, worst
from penstock_operator.sights import Fleet, Word


def published(*steps):
    made = Published()
    for version, entries in steps:
        made.take(version, entries)
    return made


def judged(made, entry, *versions, id_="a", sessions=(), silent=()):
    fleet = Fleet({str(number): Word(version) for number, version in enumerate(versions)}, tuple(silent))
    verdict = side(made, fleet, "router", sessions).judge(id_, entry)
    return verdict.status, verdict.reason


def test_what_is_not_published_is_not_loaded():
    made = published(("v1", {"a": 1}))
    assert judged(made, 2, "v1") == ("Unknown", "Pending")
    assert judged(made, 1, "v1", id_="b") == ("Unknown", "Pending")


def test_every_replica_and_every_edge_counts():
    made = published(("v1", {"a": 1}), ("v2", {"a": 2}))
    assert judged(made, 2, "v2", "v1") == ("False", "Pending")
    assert judged(made, 2, "v2", "v2") == ("True", "Programmed")
    assert judged(made, 2, "v2", "v2", sessions=["v2", "v1"]) == ("False", "Pending")
    assert judged(made, 2, "v2", "v2", sessions=["v2", "v2"]) == ("True", "Programmed")


def test_who_is_late_for_another_objects_sake_is_not_late_for_this_one():
    made = published(("v1", {"a": 1, "b": 1}), ("v2", {"a": 1, "b": 2}))
    assert judged(made, 1, "v1") == ("True", "Programmed")
    assert judged(made, 2, "v1", id_="b") == ("False", "Pending")


def test_a_version_that_comes_back_is_the_newest():
    made = published(("v1", {"a": 1}), ("v2", {"a": 2}), ("v1", {"a": 1}))
    assert judged(made, 1, "v1") == ("True", "Programmed")
    assert judged(made, 1, "v2") == ("False", "Pending")


def test_an_unknown_version_is_older_than_all():
    assert judged(published(("v1", {"a": 1})), 1, "v0") == ("False", "Pending")


def test_a_replica_without_a_catalog_serves_nobody_and_holds_up_nobody():
    made = published(("v1", {"a": 1}))
    assert judged(made, 1, "v1", "") == ("True", "Programmed")
    assert judged(made, 1, "") == ("Unknown", "NoRouter")
    assert judged(made, 1) == ("Unknown", "NoRouter")


def test_a_silent_replica_leaves_it_unknown():
    made = published(("v1", {"a": 1}))
    assert judged(made, 1, "v1", silent=["10.0.0.1:7002"]) == ("Unknown", "RouterSilent")


def test_an_object_that_went_and_came_is_new():
    made = published(("v1", {"a": 1}), ("v2", {}), ("v3", {"a": 1}))
    assert judged(made, 1, "v1") == ("False", "Pending")


def test_old_versions_are_forgotten():
    made = published(*((f"v{number}", {"a": number}) for number in range(2000)))
    assert judged(made, 1999, "v1999") == ("True", "Programmed")
    assert judged(made, 1999, "v3") == ("False", "Pending")


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), min_size=1, max_size=8), st.data())
def test_whoever_has_a_version_has_what_stood_in_it(history, data):
    """Against the plain truth: who loaded version n has an object iff it stood there as it stands now, ever since."""
    made = published(*((f"v{number}", entries) for number, entries in enumerate(history)))
    number = data.draw(st.integers(0, len(history) - 1))
    now = history[-1]
    for name, entry in now.items():
        same_since = all(entries.get(name) == entry for entries in history[number:])
        assert (judged(made, entry, f"v{number}", id_=name)[0] == "True") == same_since


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([true("P"), true("P")], "True"),
        ([true("P"), unknown("P", "NoAuth", "")], "Unknown"),
        ([unknown("P", "NoAuth", ""), false("P", "Pending", "")], "False"),
    ],
)
def test_the_worst_of_both_sides_counts(verdicts, expected):
    assert worst(verdicts).status == expected
