"""What is wrong with one (account, model) or one account: cooldowns by class, the trial, the ramp. Data and rules.

healthy --failure--> cooling --deadline, probe, credential--> half-open --success--> ramp --successes--> healthy
                        ^                                         |                    |
                        +------------------- failure -------------+--------------------+
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock_routing.policy import Effect, Policy

FOREVER: Final = math.inf
HEALTHY: Final = 1_000
"""The `step` of a condition with which nothing is wrong."""
_SEEN: Final = 64
_RECENT: Final = 16


class Phase(StrEnum):
    """Where a condition stands."""

    HEALTHY = "Healthy"
    COOLING = "Cooling"
    HALF_OPEN = "HalfOpen"
    RETURNING = "Returning"


@dataclass(slots=True)
class ClassState:
    """One class of failure there. Times are seconds of the owner's clock."""

    streak: int = 0
    """Failures in a row, as far as they lengthen the cooldown."""
    began: float = -math.inf
    until: float = -math.inf
    """FOREVER while only a probe or a new credential helps."""
    probe_at: float = math.inf
    probes_failed: int = 0


@dataclass(slots=True)
class Failure:
    """One failure that does not suffice alone."""

    at: float
    project: str
    request_id: str


@dataclass(slots=True)
class Condition:
    """One (account, model, operation). Mutable; `step` counts through the ramp, -1 while it is out."""

    classes: dict[str, ClassState] = field(default_factory=dict)
    recent: list[Failure] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """Requests whose failure has been counted: one request fails at most once."""
    step: int = HEALTHY
    cls: str = ""
    """The class of the latest cooldown."""
    trial_session: str = ""
    trial_until: float = -math.inf
    probe_failed_at: float = -math.inf
    epoch: int = 0
    """Counts lifts and returns: of two copies the one with the higher epoch knows more."""
    epoch_at: float = -math.inf
    changed_at: float = -math.inf

    def until(self) -> float:
        """Return when the last cooldown ends; -inf without one, FOREVER when time alone does not help."""
        return max((state.until for state in self.classes.values()), default=-math.inf)

    def phase(self, now: float) -> Phase:
        """Return where it stands at `now`."""
        if self.until() > now:
            return Phase.COOLING
        if self.step == HEALTHY:
            return Phase.HEALTHY
        return Phase.HALF_OPEN if self.step < 0 else Phase.RETURNING

    def leading(self) -> str:
        """Return the class whose cooldown ends last."""
        if not self.classes:
            return self.cls
        name = max(self.classes, key=lambda name: self.classes[name].until)
        return name if self.classes[name].until > -math.inf else self.cls

    def ramp_percent(self, policy: Policy) -> int:
        """Return the part of its weight that it may take: 0 while out, 100 when healthy."""
        if self.step < 0:
            return 0
        return policy.ramp_percent[self.step] if self.step < len(policy.ramp_percent) else 100

    def idle(self, now: float, keep_seconds: float) -> bool:
        """Tell whether nothing in it matters any longer."""
        return self.step == HEALTHY and max(self.changed_at, self.until()) < now - keep_seconds


def fail(
    condition: Condition,
    policy: Policy,
    *,
    cls: str,
    request_id: str,
    project: str,
    sent_at: float,
    ended_at: float,
    retry_after: float | None,
    now: float,
    paced: bool = False,
) -> bool:
    """Apply one failed request; True when a cooldown began or grew. Never shortens one.

    `paced`: its answer told the limits that it met, so that whoever comes back keeps to them without a trial.
    """
    if request_id and request_id in condition.seen:
        return False
    _remember(condition, request_id)
    effect = policy.effect(cls)
    state = condition.classes.get(cls)
    if state is not None and sent_at < state.until:
        # Sent before this cooldown began, or before its edge had heard of it: it counts once; a hint may prolong it.
        hinted = (
            ended_at + hint_seconds(policy, retry_after) if effect.honours_hint and retry_after is not None else 0.0
        )
        if hinted <= state.until:
            return False
        state.until = hinted
        condition.changed_at = now
        return True
    trial = condition.phase(now) is Phase.HALF_OPEN and sent_at >= condition.until()
    if effect.failures > 1 and not trial and not _enough(condition, effect, request_id, project, ended_at, now):
        return False
    cool(condition, policy, cls=cls, ended_at=ended_at, retry_after=retry_after, now=now, paced=paced)
    return True


def cool(
    condition: Condition,
    policy: Policy,
    *,
    cls: str,
    ended_at: float,
    retry_after: float | None,
    now: float,
    paced: bool = False,
) -> None:
    """Begin a cooldown of `cls`, one longer in its row. Behind it come a trial and a ramp, unless `paced` by a hint."""
    effect = policy.effect(cls)
    state = condition.classes.setdefault(cls, ClassState())
    state.streak += 1
    state.began = now
    seconds = cooldown_seconds(policy, effect, state.streak, retry_after)
    if effect.until_probe:
        state.until = FOREVER
        state.probe_at = ended_at + seconds
    else:
        state.until = max(state.until, ended_at + seconds)
        probed = 0 < effect.probe_seconds < seconds
        state.probe_at = ended_at + effect.probe_seconds if probed else math.inf
    state.probes_failed = 0
    if not (paced and effect.throttle and effect.honours_hint and retry_after is not None):
        condition.step = -1
    condition.cls = cls
    condition.recent.clear()
    condition.trial_session, condition.trial_until = "", -math.inf
    condition.changed_at = now


def succeed(condition: Condition, policy: Policy, *, sent_at: float, now: float) -> bool:
    """Apply one real success; True when it moved a return forward. One sent before the cooldown ended is no proof."""
    phase = condition.phase(now)
    if phase in {Phase.HEALTHY, Phase.COOLING} or sent_at < condition.until():
        return False
    if phase is Phase.HALF_OPEN:
        for state in condition.classes.values():
            state.streak = 0
            state.probes_failed = 0
        condition.step = 0
        condition.recent.clear()
        condition.trial_session, condition.trial_until = "", -math.inf
        _new_epoch(condition, now)
    elif sent_at < condition.epoch_at:
        return False
    else:
        condition.step += 1
    if condition.step >= len(policy.ramp_percent) - 1:
        condition.step = HEALTHY
    condition.changed_at = now
    return True


def lift(condition: Condition, cls: str, now: float, *, forget: bool) -> bool:
    """End the cooldown of `cls` now, for a trial; `forget` also ends its row of doubling. False when there was none."""
    state = condition.classes.get(cls)
    if state is None:
        return False
    if forget:
        state.streak = state.probes_failed = 0
    if state.until <= now:
        return False
    state.until = now
    state.probe_at = math.inf
    _new_epoch(condition, now)
    condition.changed_at = now
    return True


def release_trial(condition: Condition, now: float) -> bool:
    """Give back a trial that showed nothing (the client left, or was at fault)."""
    if not condition.trial_session:
        return False
    condition.trial_session, condition.trial_until = "", -math.inf
    condition.changed_at = now
    return True


def suspicious(condition: Condition, effect: Effect, now: float) -> bool:
    """Tell whether enough requests failed lately for a probe to decide."""
    since = now - effect.window_seconds
    requests = {failure.request_id for failure in condition.recent if failure.at > since}
    return len(requests) >= effect.failures_with_probe


def hint_seconds(policy: Policy, retry_after: float) -> float:
    """Clamp what an upstream asked for; a hint that is no number is the smallest."""
    if math.isnan(retry_after):
        return policy.hint_min_seconds
    return min(max(retry_after, policy.hint_min_seconds), policy.hint_max_seconds)


def cooldown_seconds(policy: Policy, effect: Effect, streak: int, retry_after: float | None) -> float:
    """Return how long the `streak`-th failure in a row keeps it out."""
    if effect.honours_hint and retry_after is not None:
        return hint_seconds(policy, retry_after)
    if not effect.doubling:
        return effect.first_seconds
    return min(effect.first_seconds * 2.0 ** min(streak - 1, 32), effect.max_seconds)


def merge(one: Condition, other: Condition) -> Condition:
    """Join two copies of one condition that two routers changed apart: deadlines and rows only grow within an epoch."""
    newer, older = (one, other) if one.epoch >= other.epoch else (other, one)
    same = newer.epoch == older.epoch
    classes = {name: _copy(state) for name, state in newer.classes.items()}
    step = min(newer.step, older.step) if same and min(newer.step, older.step) < 0 else newer.step
    cls = newer.cls if newer.changed_at >= older.changed_at else older.cls
    for name, state in older.classes.items():
        if same or state.began > newer.epoch_at:
            classes[name] = _joined(classes.get(name), state)
            step = -1 if not same and older.step < 0 else step
    if same and step >= 0:
        step = max(newer.step, older.step)
    trial = newer if newer.trial_until >= older.trial_until or not same else older
    recent = {failure.request_id: failure for failure in (*older.recent, *newer.recent)}
    return Condition(
        classes=classes,
        recent=sorted(recent.values(), key=lambda failure: failure.at)[-_RECENT:],
        seen=list(dict.fromkeys((*older.seen, *newer.seen)))[-_SEEN:],
        step=step,
        cls=cls,
        trial_session=trial.trial_session,
        trial_until=trial.trial_until,
        probe_failed_at=max(newer.probe_failed_at, older.probe_failed_at),
        epoch=newer.epoch,
        epoch_at=newer.epoch_at,
        changed_at=max(newer.changed_at, older.changed_at),
    )


def date_anew(condition: Condition, now: float) -> None:
    """Move a condition's times to where they would be had it changed just now.

    For one that changed later than now: the clock was put back since, and its cooldown would last as much longer.
    """
    ahead = condition.changed_at - now
    for state in condition.classes.values():
        state.began -= ahead
        state.until -= ahead
        state.probe_at -= ahead
    for failure in condition.recent:
        failure.at -= ahead
    condition.trial_until -= ahead
    condition.probe_failed_at -= ahead
    condition.epoch_at -= ahead
    condition.changed_at = now


def _joined(mine: ClassState | None, theirs: ClassState) -> ClassState:
    if mine is None:
        return _copy(theirs)
    return ClassState(
        streak=max(mine.streak, theirs.streak),
        began=max(mine.began, theirs.began),
        until=max(mine.until, theirs.until),
        probe_at=theirs.probe_at if theirs.until > mine.until else mine.probe_at,
        probes_failed=max(mine.probes_failed, theirs.probes_failed),
    )


def _copy(state: ClassState) -> ClassState:
    return ClassState(state.streak, state.began, state.until, state.probe_at, state.probes_failed)


def _new_epoch(condition: Condition, now: float) -> None:
    condition.epoch += 1
    condition.epoch_at = now


def _remember(condition: Condition, request_id: str) -> None:
    if request_id:
        condition.seen.append(request_id)
        del condition.seen[:-_SEEN]


def _enough(condition: Condition, effect: Effect, request_id: str, project: str, ended_at: float, now: float) -> bool:
    since = now - effect.window_seconds
    condition.recent = [failure for failure in condition.recent if failure.at > since][-(_RECENT - 1) :]
    condition.recent.append(Failure(ended_at, project, request_id))
    condition.changed_at = now
    requests = {failure.request_id for failure in condition.recent}
    projects = {failure.project for failure in condition.recent}
    if len(requests) >= effect.failures and len(projects) >= effect.projects:
        return True
    return len(requests) >= effect.failures_with_probe and condition.probe_failed_at > since
