"""The benchmark of translation measures what really crosses, and a run's page keeps what the run did not measure."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_everything_crosses_every_way_and_is_told(module, monkeypatch):
    translation, tables = module("translation"), module("translation_tables")
    monkeypatch.setattr(translation, "TURNS", 1)
    found = list(translation.cases(3, 10_000))
    for case in found:
        case.samples.append(case.sample())
    ways = {(case.spoken, case.wire) for case in found}
    assert len(ways) == 16
    page = tables.Tables({(case.spoken, case.wire, case.what): case.figures() for case in found}).page()
    assert page.count("| gemini (passes) | generate |") == 3
    assert page.count("| openai_chat | responses |") == 3


@pytest.mark.parametrize(("microseconds", "beyond"), [(41, "openai_chat to messages (text)"), (39, "none")])
def test_what_is_beyond_its_goal_is_named(module, microseconds, beyond):
    tables = module("translation_tables")
    steps = ("head", "read", "write", "release", "answer", "all")
    figures = {
        (spoken, wire, what): dict.fromkeys(steps, 1.0)
        for spoken, wire in tables.WAYS
        for what in ("small", *tables.CHUNKS, *tables.LARGE)
    }
    figures["chat", "messages", "text"]["all"] = microseconds * 1e3
    assert f"Beyond 40 µs: {beyond}." in tables.Tables(figures).page()


def test_a_request_that_cannot_cross_is_not_measured(module):
    trips, asked = module("trips"), module("asked")
    trip = trips.Trip("chat", "messages", asked.small(), streamed=False)
    trips.prove(trip)
    trip.last = b"what nobody said"
    with pytest.raises(RuntimeError, match="did not cross"):
        trips.prove(trip)


def test_a_stream_without_its_end_is_not_measured(module):
    trips, asked, answered = module("trips"), module("asked"), module("answered")
    stream = answered.text_stream("messages", 3)
    passage = trips.Trip("chat", "messages", asked.small(), streamed=True).cross()
    trips.prove_stream(passage, stream)
    cut = answered.Stream(stream.opening, stream.deltas, stream.closing[:-1])
    with pytest.raises(RuntimeError, match="end well"):
        trips.prove_stream(passage, cut)


def test_a_large_request_has_about_the_size_that_it_is_said_to_have(module):
    asked = module("asked")
    for turns in (asked.blocks, asked.messages, asked.tool_turns):
        for wire in asked.WIRES:
            assert len(asked.request(wire, "m", turns(200_000), streamed=False)) == pytest.approx(200_000, rel=0.2)


def test_sections_that_were_not_measured_stay(module):
    results = module("results")
    page = results.replaced(
        "# Results\n\n## The edge's memory\n\nold\n\n## Relaying\n\n### case\n", {"Translation": "new"}
    )
    assert list(results.sections(page).items()) == [
        ("Relaying", "### case"),
        ("Translation", "new"),
        ("The edge's memory", "old"),
    ]
    assert results.replaced(page, {}) == page
    assert "old" not in results.replaced(page, {"The edge's memory": "newer"})
