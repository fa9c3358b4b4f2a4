"""What of a request is ignored."""

from __future__ import annotations

from penstock_edge.notes import Notes


def test_some_things_are_said_once():
    notes = Notes()
    for note in ("a", "b", "a"):
        notes.once(note)
    notes.append("a")
    assert notes == ["a", "b", "a"]
