"""Which edge sessions are known, alive and dead."""

from __future__ import annotations

from penstock_router.sessions import Sessions
from penstock_routing import Share
from penstock_routing.shares import Demand, Offer


def test_bounded_and_the_longest_silent_goes_first():
    sessions = Sessions(limit=2)
    sessions.join("watching", "", {}, 0.0).watches = 1
    sessions.known("silent", 1.0)
    sessions.known("new", 2.0)
    assert sessions.get("silent") is None
    assert {session.name for session in sessions} == {"watching", "new"}
    assert len(sessions) == 2


def test_silence_kills_and_watching_does_not():
    sessions = Sessions()
    sessions.join("watching", "", {}, 0.0).watches = 1
    sessions.join("silent", "", {}, 0.0)
    assert sessions.expire(30.0, 30.0) == []
    assert sessions.expire(30.1, 30.0) == ["silent"]
    assert sessions.get("silent") is None
    assert sessions.ended == set(), "it may speak to another router"
    sessions.part("watching", 100.0)
    assert sessions.expire(120.0, 30.0) == []
    assert sessions.expire(131.0, 30.0) == ["watching"]


def test_who_has_left_is_not_present_for_long():
    sessions = Sessions()
    sessions.join("watching", "", {}, 0.0).watches = 1
    sessions.join("leaving", "", {}, 0.0).watches = 1
    sessions.part("leaving", 10.0)
    assert {session.name for session in sessions.present(12.0)} == {"watching", "leaving"}
    assert {session.name for session in sessions.present(14.0)} == {"watching"}
    assert sessions.get("leaving") is not None


def test_a_new_life_ends_the_old_one_that_no_longer_watches():
    sessions = Sessions()
    sessions.join("old", "edge-0", {}, 0.0)
    sessions.join("new", "edge-0", {}, 1.0)
    assert sessions.get("old") is None
    assert sessions.ended == {"old"}


def test_and_the_one_whose_stream_ends_later():
    sessions = Sessions()
    sessions.join("old", "edge-0", {}, 0.0).watches += 1
    sessions.join("new", "edge-0", {}, 1.0).watches += 1
    assert sessions.get("old") is not None
    sessions.part("old", 2.0)
    assert sessions.get("old") is None
    sessions.part("old", 2.0)
    assert sessions.watched() == {"new"}


def test_without_a_name_nobody_is_superseded():
    sessions = Sessions()
    sessions.join("one", "", {}, 0.0)
    sessions.join("two", "", {}, 0.0)
    assert len(sessions) == 2


def test_a_declaration_is_over_when_something_newer_is_acknowledged():
    sessions = Sessions()
    session = sessions.join("s", "", {"a": Offer(5, Share(slots=1))}, 0.0)
    sessions.acknowledge(session, "a", 4)
    assert "a" in session.declared
    sessions.acknowledge(session, "a", 6)
    assert session.declared == {}
    assert session.acknowledged == {"a": 6}


def test_busy():
    session = Sessions().known("s", 0.0)
    assert not session.busy()
    session.demand["a"] = Demand(requests_per_minute=1)
    assert session.busy()
