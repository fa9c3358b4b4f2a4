#!/usr/bin/env python3
"""What crossing from one wire format to another costs, in process: prints Markdown, and what it is doing on stderr.

CPU of this process for what the edge itself runs, beside what it costs to pass bytes untouched in the same run.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import asked
from answered import arguments_stream, text_stream
from translation_tables import CLIENTS, WAYS, Tables
from trips import Trip, follow, prove, prove_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from answered import Stream

    from penstock_edge.passage import Passage

ROUNDS = 9
DELTAS = 2_000
LARGE_BYTES = 1_000_000
TURNS = 200
"""Of a loop, for what is too quick to measure once."""

SHAPES = {"blocks": asked.blocks, "messages": asked.messages, "tool turns": asked.tool_turns}
STREAMS = {"text": text_stream, "tool arguments": arguments_stream}
Sample = dict[str, float]
"""CPU nanoseconds by step."""


@dataclass
class Case:
    """One thing to measure on one way."""

    spoken: str
    wire: str
    what: str
    sample: Callable[[], Sample]
    samples: list[Sample] = field(default_factory=list)

    def figures(self) -> Sample:
        """Return the median of every step."""
        return {step: statistics.median(one[step] for one in self.samples) for step in self.samples[0]}


def cases(deltas: int, large: int) -> Iterator[Case]:
    """Give everything to measure, each tried once."""
    conversations = {shape: turns(large) for shape, turns in SHAPES.items()}
    for spoken, wire in WAYS:
        print(f"  {CLIENTS[spoken]} to {wire}", file=sys.stderr, flush=True)
        trip = Trip(spoken, wire, asked.small(), streamed=False)
        prove(trip)
        yield Case(spoken, wire, "small", partial(small, trip))
        passage = Trip(spoken, wire, asked.small(), streamed=True).cross()
        for what, stream_of in STREAMS.items():
            stream = stream_of(wire, deltas)
            if stream is not None:
                prove_stream(passage, stream)
                yield Case(spoken, wire, what, partial(chunk, passage, stream))
        for shape, turns in conversations.items():
            trip = Trip(spoken, wire, turns, streamed=False)
            prove(trip)
            trip.forget()
            yield Case(spoken, wire, shape, partial(whole_request, trip))


def small(trip: Trip) -> Sample:
    """Measure the steps of a small request and its answer, each in a loop of its own."""
    return {step: _cpu(work, TURNS) for step, work in (*trip.steps(), ("answer", trip.answer), ("all", trip.whole))}


def whole_request(trip: Trip) -> Sample:
    """Measure one large request's way to the account, once: nothing of it is warm, and nothing of others is alive."""
    taken = {step: _cpu(work, 1) for step, work in (*trip.steps(), ("release", trip.forget))}
    return taken | {"all": sum(taken.values())}


def chunk(passage: Passage, stream: Stream) -> Sample:
    """Measure one delta of a stream."""
    return {"all": follow(passage, stream)}


def _cpu(work: Callable[[], object], turns: int) -> float:
    begin = time.process_time_ns()
    for _ in range(turns):
        work()
    return (time.process_time_ns() - begin) / turns


def measure(found: list[Case], rounds: int) -> None:
    """Take every sample once a round, with the collector set as the edge sets it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    for number in range(rounds):
        print(f"  round {number + 1}/{rounds}", file=sys.stderr, flush=True)
        for one in found:
            one.samples.append(one.sample())


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    arguments.add_argument("--json", type=Path, help="where to write all samples")
    options = arguments.parse_args()
    found = list(cases(DELTAS, LARGE_BYTES))
    measure(found, options.rounds)
    if options.json is not None:
        options.json.write_text(json.dumps([[one.spoken, one.wire, one.what, one.samples] for one in found]))
    print(Tables({(one.spoken, one.wire, one.what): one.figures() for one in found}).page())


if __name__ == "__main__":
    main()
