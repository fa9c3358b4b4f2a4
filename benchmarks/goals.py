"""The goals of relaying, and whether a run's figures meet them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from figures import BLIND, FLOOR, Figures, shown
from plan import ALONE, CHAT, CHUNKS, FIRST, LARGE, UNARY

if TYPE_CHECKING:
    from figures import Document
    from plan import Case

UNARY_MICROSECONDS = 60
CHUNK_MICROSECONDS = 22
LARGE_MICROSECONDS = 130
ADDED_P50_MS = 0.15
ADDED_P99_TIMES = 3
FIRST_CHUNK_MS = 0.3
OPEN_STREAMS_MB = 100
FLAT_PERCENT = 2.0


@dataclass(frozen=True)
class Judged:
    """One goal beside what was measured."""

    goal: str
    measured: str
    met: bool | None
    """By the medians; `None`: there is nothing to judge by."""
    once: bool = False
    """Met by the least of the rounds: what others do on a machine only ever adds to it."""


def judged(document: Document, us: str = "penstock") -> list[Judged]:
    """Judge every goal by the medians of a run, for the gateway of that name."""
    figures = Figures(document["rows"])
    found = [
        _cpu(figures, us, UNARY, UNARY_MICROSECONDS, "a unary request of 1 KB", "64 connections"),
        _cpu(figures, us, CHUNKS, CHUNK_MICROSECONDS, "a paced chunk", "64 streams, 10 ms apart"),
        _cpu(figures, us, LARGE, LARGE_MICROSECONDS, "a prompt of 100 KB", "16 connections"),
        _below(figures, us, "tensorzero"),
        _added_p50(figures, us),
        _added_p99(figures, us),
        _first_chunk(figures, us),
    ]
    return found + _open_streams(document.get("open_streams"), us)


def _cpu(figures: Figures, us: str, case: Case, limit: float, what: str, load: str) -> Judged:
    median, least = figures.median(case, us, "cpu_us"), figures.least(case, us, "cpu_us")
    beside = figures.median(case, us, "beside_us")
    floors = ", ".join(f"{name} {shown(figures.median(case, name, 'cpu_us'), 1)}" for name in (FLOOR, BLIND))
    measured = f"{shown(median, 1)} µs (least {shown(least, 1)}; {floors}; auth and router beside {shown(beside, 1)})"
    return _judge(f"edge CPU for {what}, {load}: ≤ {limit} µs", measured, median, limit, least)


def _below(figures: Figures, us: str, peer: str) -> Judged:
    ours, theirs = figures.median(CHAT, us, "cpu_us"), figures.median(CHAT, peer, "cpu_us")
    goal = f"edge CPU for a unary request of 1 KB, chat.completions, 64 connections: below {peer}'s"
    least = figures.least(CHAT, us, "cpu_us"), figures.least(CHAT, peer, "cpu_us")
    measured = (
        f"{shown(ours, 1)} µs against {shown(theirs, 1)} (least {shown(least[0], 1)} against {shown(least[1], 1)})"
    )
    return _judge(goal, measured, ours, theirs)


def _added_p50(figures: Figures, us: str) -> Judged:
    ours, floor = figures.added(ALONE, us, "p50_ms"), figures.added(ALONE, FLOOR, "p50_ms")
    goal = f"added p50, 1 KB, 1 connection: ≤ {ADDED_P50_MS} ms"
    least = figures.added_least(ALONE, us, "p50_ms")
    measured = f"{shown(ours, 3)} ms (least {shown(least, 3)}; nginx {shown(floor, 3)})"
    return _judge(goal, measured, ours, ADDED_P50_MS, least)


def _added_p99(figures: Figures, us: str) -> Judged:
    ours, floor = figures.added(ALONE, us, "p99_ms"), figures.added(ALONE, FLOOR, "p99_ms")
    goal = f"added p99, 1 KB, 1 connection: ≤ {ADDED_P99_TIMES} × nginx's"
    if ours is None or floor is None or floor <= 0:
        return Judged(goal, f"{shown(ours, 3)} ms, nginx {shown(floor, 3)}", None)
    least, lowest = (figures.added_least(ALONE, name, "p99_ms") for name in (us, FLOOR))
    measured = (
        f"{shown(ours / floor, 1)} × ({shown(ours, 3)} ms, nginx {shown(floor, 3)};"
        f" least {shown(least, 3)}, nginx {shown(lowest, 3)})"
    )
    once = least is not None and lowest is not None and least <= ADDED_P99_TIMES * lowest
    return replace(_judge(goal, measured, ours, ADDED_P99_TIMES * floor), once=once)


def _first_chunk(figures: Figures, us: str) -> Judged:
    ours, floor = figures.added(FIRST, us, "first_ms"), figures.added(FIRST, FLOOR, "first_ms")
    goal = f"first chunk added, 1 connection: ≤ {FIRST_CHUNK_MS} ms"
    least = figures.added_least(FIRST, us, "first_ms")
    measured = f"{shown(ours, 3)} ms (least {shown(least, 3)}; nginx {shown(floor, 3)})"
    return _judge(goal, measured, ours, FIRST_CHUNK_MS, least)


def _open_streams(found: Document | None, us: str) -> list[Judged]:
    most = f"edge memory at 1,000 open streams: ≤ {OPEN_STREAMS_MB} MB"
    flat = f"and flat: no more than {FLAT_PERCENT:g} % more from the first time to the last"
    if not found or us not in found["mb"]:
        return [Judged(most, "–", None), Judged(flat, "–", None)]
    readings, proportional = found["mb"][us], found["proportional_mb"].get(us)
    growth = (max(readings[-1]) / max(readings[0]) - 1) * 100
    highest = max(max(reading) for reading in readings)
    return [
        _judge(
            most,
            f"{highest:.1f} MB resident (before {found['idle_mb'][us]:.1f}; proportional set {shown(proportional, 1)})",
            highest,
            OPEN_STREAMS_MB,
        ),
        _judge(flat, f"{growth:+.1f} %", growth, FLAT_PERCENT),
    ]


def _judge(goal: str, measured: str, value: float | None, limit: float | None, least: float | None = None) -> Judged:
    if value is None or limit is None:
        return Judged(goal, "–", None)
    return Judged(goal, measured, value <= limit, once=least is not None and least <= limit)


def table(found: list[Judged], compiled: list[Judged]) -> str:
    """Return the goals as Markdown: what was measured of Penstock, and of it with compiled modules."""
    lines = ["| goal | penstock | | penstock-compiled | |", "|---|---|---|---|---|"]
    for one, other in zip(found, compiled, strict=True):
        cells = (one.goal, one.measured, _verdict(one), other.measured, _verdict(other))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _verdict(one: Judged) -> str:
    if one.met is None:
        return "not measured"
    if one.met:
        return "met"
    return "met by the least" if one.once else "**not met**"
