"""Conditions as they are written over those before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from penstock_operator.conditions import false, found, true, unknown, written

THEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = THEN + timedelta(minutes=5)


def status(*rows):
    return {"conditions": list(rows)}


def test_all_are_there_at_the_first_visit():
    rows = written({}, [unknown("Ready", "Pending", "wait")], 3, THEN)
    assert rows == [
        {
            "type": "Ready",
            "status": "Unknown",
            "reason": "Pending",
            "message": "wait",
            "lastTransitionTime": "2026-03-01T12:00:00Z",
            "observedGeneration": 3,
        }
    ]


def test_the_time_stays_until_the_status_flips():
    first = status(*written({}, [false("Ready", "Cooling", "one")], 1, THEN))
    second = status(*written(first, [false("Ready", "QuotaExhausted", "two")], 2, LATER))
    row = found(second, "Ready")
    assert (row["reason"], row["message"], row["observedGeneration"]) == ("QuotaExhausted", "two", 2)
    assert row["lastTransitionTime"] == "2026-03-01T12:00:00Z"
    third = status(*written(second, [true("Ready")], 2, LATER))
    assert found(third, "Ready")["lastTransitionTime"] == "2026-03-01T12:05:00Z"


def test_the_same_again_is_the_same():
    first = written({}, [true("Ready"), false("Reachable", "ProbeFailed", "x")], 1, THEN)
    assert written(status(*first), [true("Ready"), false("Reachable", "ProbeFailed", "x")], 1, LATER) == first


def test_what_is_not_ours_stays():
    theirs = {"type": "example.com/Reviewed", "status": "True", "reason": "ByHand", "message": ""}
    rows = written(status(theirs), [true("Ready")], 1, THEN)
    assert [row["type"] for row in rows] == ["Ready", "example.com/Reviewed"]
    assert rows[1] == theirs


def test_junk_in_a_status_is_no_fault_of_ours():
    for junk in ({"conditions": None}, {"conditions": "x"}, {"conditions": [None, 3]}):
        assert written(junk, [true("Ready")], 1, THEN)[0]["status"] == "True"


def test_a_message_has_an_end():
    assert len(written({}, [false("Ready", "InvalidSpec", "x" * 10**6)], 1, THEN)[0]["message"]) <= 32_768
