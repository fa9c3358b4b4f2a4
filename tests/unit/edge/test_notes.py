"""What of a request is ignored."""

from __future__ import annotations

import pytest

from penstock_edge.notes import Notes, line


def test_some_things_are_said_once():
    notes = Notes()
    for note in ("a", "b", "a"):
        notes.once(note)
    notes.append("a")
    assert notes == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("ignored", "said"),
    [
        ([], ""),
        (["seed", "top_k", "seed"], "seed, top_k"),
        (["messages.1.content.0 (thinking)", "temperature=0.5"], "messages.1.content.0 (thinking), temperature=0.5"),
    ],
)
def test_a_line_says_each_entry_once(ignored, said):
    assert line(ignored, 80) == said


def test_a_line_without_room_for_places_says_what_stands_there():
    ignored = [f"messages.{turn}.content.0 (thinking signed by Anthropic)" for turn in range(99)] + ["temperature=0.5"]
    assert line(ignored, 80) == "messages.*.content.* (thinking signed by Anthropic), temperature=0.5"


def test_a_line_that_is_full_says_that_there_is_more():
    ignored = [f"field_{letter}" for letter in "abcdefghij"]
    for most in range(20, 88):
        said = line(ignored, most)
        *whole, last = said.split(", ")
        assert last == "and more"
        assert whole == ignored[: len(whole)]
        assert len(said) <= most
    assert line(ignored, 88) == ", ".join(ignored)
    assert line(["x" * 99], 20) == "xxxxxxxxxx, and more"
