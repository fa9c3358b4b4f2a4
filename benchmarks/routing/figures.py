"""What a run comes to: the figures that the report and the JSON line give."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.routing.metrics import FAIR_SLICE, SLICE

if TYPE_CHECKING:
    from benchmarks.routing.world import World

_SETTLED = 60.0
_LONGEST_ANSWER_SECONDS = 120.0


@dataclass(slots=True)
class Figures:
    """One run's figures. Fractions are 0 to 1; cache points are percentage points."""

    scenario: str
    policy: str
    asked: int
    errors: int
    error_rate: float
    first_try_error_rate: float
    broken_rate: float
    attempts_per_request: float
    wait_p50: float
    wait_p99: float
    cache_hit: float
    perfect_hit: float
    cache_points_below: float
    money: float
    money_saved: float
    capacity_used: float
    max_fair_deviation: float
    first_refusal_at_load: float
    herd: float
    worst_after: float
    """The largest share of errors in 30 s, once a minute has passed since an outage ended."""
    well_again_after: float
    course: list[tuple[float, float, float, float]] = field(default_factory=list)
    """By slice: seconds, requests asked per second, share of errors, part of capacity used."""


def figures(world: World) -> Figures:
    """Sum up a run."""
    m, scenario = world.metrics, world.scenario
    waits = sorted(m.waits)
    served = sum(m.project_served.values())
    hit, perfect = _part(m.cached, m.prompt), _part(m.perfect, m.prompt)
    worst, well = _after(world)
    return Figures(
        scenario=scenario.name,
        policy=world.policy.name,
        asked=m.asked,
        errors=m.errors,
        error_rate=_part(m.errors, m.asked),
        first_try_error_rate=_part(m.turn_errors, m.turns),
        broken_rate=_part(m.broken, m.asked),
        attempts_per_request=_part(m.attempts, m.asked),
        wait_p50=_quantile(waits, 0.50),
        wait_p99=_quantile(waits, 0.99),
        cache_hit=hit,
        perfect_hit=perfect,
        cache_points_below=100.0 * (perfect - hit),
        money=m.money,
        money_saved=m.money_saved,
        capacity_used=_part(served, world.offered_capacity()),
        max_fair_deviation=unfairness(m.fair_asked, m.fair_served, _settled_minutes(world)),
        first_refusal_at_load=_used_at_first_refusal(world),
        herd=_herd(world),
        worst_after=worst,
        well_again_after=well,
        course=_course(world),
    )


def recovery(course: list[tuple[float, float, float, float]], load: float, ends: float) -> tuple[float, float]:
    """Return the least work served in a minute after an outage by what is offered, and when 95 % of that was served.

    The least is looked for from a minute after the end on; the seconds are counted from the end, inf: it never was.
    """

    def mean(since: float) -> float:
        used = [row[3] for row in course if since <= row[0] < since + 60.0]
        return _part(sum(used), len(used))

    minutes = [mean(ends + 60.0 * n) for n in range(int((course[-1][0] + SLICE - ends) / 60.0))]
    late = [n for n, used in enumerate(minutes) if used < 0.95 * load]
    back = 60.0 * (late[-1] + 1) if late else 0.0
    least = min(minutes[1:], default=0.0)
    return _part(least, load), back if back < 60.0 * len(minutes) else math.inf


def _part(value: float, of: float) -> float:
    return value / of if of else 0.0


def _quantile(values: list[float], q: float) -> float:
    return values[min(int(q * len(values)), len(values) - 1)] if values else 0.0


def fair_shares(wishes: dict[str, float], total: float) -> dict[str, float]:
    """Divide `total` so that nobody gets more than he wishes and those who get less all get the same (max-min)."""
    shares: dict[str, float] = {}
    left = total
    for count, (name, wish) in enumerate(sorted(wishes.items(), key=lambda item: item[1])):
        shares[name] = min(wish, left / (len(wishes) - count))
        left -= shares[name]
    return shares


Minutes = dict[tuple[int, str, str], float]


def unfairness(asked: Minutes, served: Minutes, minutes: int) -> float:
    """Return how far the project that is worst off, or best, is away from its fair share of the first `minutes`.

    A minute's share is what max-min gives of all that was served in it. Deviations are added up without their signs:
    too much in one minute does not make up for too little in another.
    """
    wishes: dict[tuple[int, str], dict[str, float]] = {}
    for (minute, name, model), wish in asked.items():
        if minute < minutes:
            wishes.setdefault((minute, model), {})[name] = wish
    shares: dict[tuple[str, str], float] = {}
    away: dict[tuple[str, str], float] = {}
    for (minute, model), wish_by_name in wishes.items():
        got = {name: served.get((minute, name, model), 0.0) for name in wish_by_name}
        for name, share in fair_shares(wish_by_name, sum(got.values())).items():
            shares[name, model] = shares.get((name, model), 0.0) + share
            away[name, model] = away.get((name, model), 0.0) + abs(got[name] - share)
    return max((_part(away[key], share) for key, share in shares.items()), default=0.0)


def _settled_minutes(world: World) -> int:
    """Return how many minutes of the measured time have passed for so long that all answers have ended."""
    scenario = world.scenario
    return max(int((scenario.ends - scenario.begins - _LONGEST_ANSWER_SECONDS) / FAIR_SLICE), 0)


def _course(world: World) -> list[tuple[float, float, float, float]]:
    course = world.metrics.course
    total = sum(world.capacity.per_second.values()) * world.scenario.accounts / world.scenario.mix.capacity_accounts
    rows = []
    for index in range(int(world.scenario.ends / SLICE)):
        asked = course.asked.get(index, 0)
        errors = course.errors.get(index, 0)
        used = course.work.get(index, 0.0) / SLICE / total
        rows.append((index * SLICE, asked / SLICE, _part(errors, max(asked, errors)), used))
    return rows


def _used_at_first_refusal(world: World) -> float:
    """Return the part of capacity that was used in the minute before the first error; 0 when there was none."""
    at = world.metrics.first_error_at
    if at < 0:
        return 0.0
    rows = [row for row in _course(world) if at - 60.0 <= row[0] < at]
    return _part(sum(row[3] for row in rows), len(rows))


def _herd(world: World) -> float:
    """Return the most requests in a second that a returning account got, in the first minute, by what is usual."""
    since = world.scenario.course_from
    if not since:
        return 0.0
    names = list(world.accounts)
    returning = {names[fault.account] for fault in world.scenario.faults if fault.ends == since}
    herd = world.metrics.herd
    usual = sum(
        count for (second, name), count in herd.items() if name in returning and 120 <= second < world.scenario.begins
    )
    usual_rate = usual / (len(returning) * (world.scenario.begins - 120))
    most = max(
        (count for (second, name), count in herd.items() if name in returning and since <= second < since + 60),
        default=0,
    )
    return _part(most, usual_rate)


def _after(world: World) -> tuple[float, float]:
    """Return the worst 30 s later than a minute after an outage, and how long it took to be below 0.1 % for good."""
    since = world.scenario.course_from
    if not since:
        return 0.0, 0.0
    course = world.metrics.course
    worst, well = 0.0, 0.0
    for index in range(int(since / SLICE), int(world.scenario.ends / SLICE) - 2):
        asked = sum(course.asked.get(i, 0) for i in range(index, index + 3))
        share = _part(sum(course.errors.get(i, 0) for i in range(index, index + 3)), asked)
        at = index * SLICE - since
        if at >= _SETTLED:
            worst = max(worst, min(share, 1.0))
        if share > 0.001:
            well = at + 3 * SLICE
    return worst, well
