"""The conditions that stand in the way at one edge: its own provisional ones, and the router's word over them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from penstock_routing import condition as c
from penstock_routing.condition import ClassState, Condition
from penstock_routing.health import Health, Key, success_keys
from penstock_routing.lanes import Gate
from penstock_routing.outcomes import COUNT_TOKENS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock_routing.candidates import Cooldown, Pick
    from penstock_routing.lanes import Account, Lane
    from penstock_routing.outcomes import Outcome
    from penstock_routing.policy import Policy


class Gates:
    """All gates of a pool. Failures count here at once; who returns is the router's decision while it speaks."""

    def __init__(self, policy: Policy, accounts: Mapping[str, Account], lanes: Mapping[tuple[str, str], Lane]) -> None:
        self.policy = policy
        self.accounts = accounts
        self.lanes = lanes
        self.router_at = -math.inf
        """When the router last spoke."""
        self._health = Health(policy)
        self._gates: dict[Key, Gate] = {}

    def __len__(self) -> int:
        """Return how many conditions are not, or not yet known to be, as they should be."""
        return len(self._gates)

    def named(self) -> list[Key]:
        """Return the keys of all gates."""
        return list(self._gates)

    def obstacle(self, gate: Gate, session: str, unbilled: bool, now: float) -> tuple[str, float, bool] | None:
        """Return why nothing may go through now (reason, seconds, throttled), None when one request may.

        `unbilled` requests (count_tokens) neither wait for a trial nor are one.
        """
        if gate.pending is not None and now - gate.local_at >= self.policy.provisional_seconds:
            self._apply_pending(gate)
        condition = gate.condition
        step = condition.step
        until = condition.until()
        if until > now:
            cls = condition.leading()
            return (cls, self._wait(condition, now), self.policy.effect(cls).throttle)
        if step >= c.HEALTHY or unbilled:
            return None
        throttle = self.policy.effect(condition.cls).throttle
        if step >= 0:
            full = step < len(self.policy.ramp_in_flight) and gate.out >= self.policy.ramp_in_flight[step]
            return ("Returning", 0.2, throttle) if full else None
        if gate.out > 0 and now < gate.trial_until:
            return ("HalfOpen", 1.0, throttle)
        if self._governed(gate, now) and not (session and condition.trial_session == session):
            return ("HalfOpen", 0.5, throttle)
        return None

    def entered(self, pick: Pick, now: float) -> None:
        """Count a pick that goes to an account which is returning."""
        account, lane = pick.lane.account, pick.lane
        gates = (account.count_gate,) if pick.operation == COUNT_TOKENS else (lane.gate, account.gate)
        passed = tuple(gate for gate in gates if gate is not None and gate.condition.step < c.HEALTHY)
        for gate in passed:
            gate.out += 1
            if gate.condition.step < 0:
                pick.trial = True
                gate.trial_until = now + self.policy.trial_seconds
        pick.gates = passed
        pick.watched = bool(passed)

    def left(self, pick: Pick) -> None:
        """Forget a pick that has shown what it had to show."""
        for gate in pick.gates:
            gate.out -= 1
        pick.gates = ()

    def succeeded(self, pick: Pick, now: float) -> None:
        """Move returns forward that nobody else decides about."""
        for key in success_keys(pick.account, pick.model, pick.operation):
            gate = self._gates.get(key)
            if gate is None or self._governed(gate, now):
                continue
            c.succeed(gate.condition, self.policy, sent_at=pick.taken_at, now=now)
            if gate.condition.step >= c.HEALTHY:
                self._close(key)

    def failed(self, outcome: Outcome, now: float) -> bool:
        """Apply a failure; True when a cooldown began or grew."""
        changed = self._health.observe(outcome, now)
        for key in changed:
            condition = self._health.conditions[key]
            gate = self._gates.get(key) or self._open(key, condition)
            gate.local_at = now
            gate.pending = None
        return bool(changed)

    def set(self, cooldown: Cooldown, now: float) -> None:
        """Take the router's word."""
        key = Key(cooldown.account, cooldown.model, cooldown.operation)
        if cooldown.account not in self.accounts:
            return
        word = self._word(cooldown, now)
        gate = self._gates.get(key)
        if gate is None:
            gate = self._open(key, word)
        gate.owned = True
        if self._stands(gate, now) and word.until() < gate.condition.until():
            gate.pending = (now, word)
            return
        self._adopt(gate, word)

    def clear(self, account: str, model: str, operation: str, now: float) -> None:
        """Take the router's word that nothing is wrong there."""
        key = Key(account, model, operation)
        gate = self._gates.get(key)
        if gate is None:
            return
        if self._stands(gate, now):
            gate.pending = (now, None)
        else:
            self._close(key)

    def credential_changed(self, account: str, now: float) -> None:
        """Let an account with a new credential have its trial."""
        self._health.credential_changed(account, now)

    def keep(self, now: float) -> None:
        """Drop what belongs to accounts and models that are gone; tie the rest to its accounts and lanes anew."""
        gone = self._health.keep({name: account.facts.models for name, account in self.accounts.items()}, now)
        for key in list(self._gates):
            if key in gone:
                self._close(key)
            else:
                self._tie(key, self._gates[key])

    def _governed(self, gate: Gate, now: float) -> bool:
        return gate.owned and now - self.router_at <= self.policy.router_silent_seconds

    def _stands(self, gate: Gate, now: float) -> bool:
        """Tell whether this edge's own cooldown is so young that the router may not have heard of it."""
        return now - gate.local_at < self.policy.provisional_seconds and gate.condition.until() > now

    def _wait(self, condition: Condition, now: float) -> float:
        until = condition.until()
        if until != c.FOREVER:
            return until - now
        probes = [state.probe_at for state in condition.classes.values() if state.until == c.FOREVER]
        soonest = min(probes, default=math.inf)
        return max(soonest - now, 1.0) if soonest != math.inf else self.policy.unknown_recovery_seconds

    def _word(self, cooldown: Cooldown, now: float) -> Condition:
        over = cooldown.half_open or cooldown.ramp_percent > 0
        until = now if over else now + max(cooldown.remaining_seconds, 0.0)
        step = c.HEALTHY if not over and self._paced(cooldown) else -1
        if cooldown.ramp_percent > 0:
            percents = self.policy.ramp_percent
            step = max((i for i, percent in enumerate(percents) if percent <= cooldown.ramp_percent), default=0)
        return Condition(
            classes={cooldown.cls: ClassState(streak=1, began=now, until=until)},
            step=step,
            cls=cooldown.cls,
            trial_session=cooldown.trial_session,
            changed_at=now,
            epoch_at=now,
        )

    def _paced(self, cooldown: Cooldown) -> bool:
        """Tell whether this edge knows the limits there, so that the end of a throttle needs no further word."""
        lane = self.lanes.get((cooldown.account, cooldown.model))
        return lane is not None and lane.gauges is not None and self.policy.effect(cooldown.cls).throttle

    def _adopt(self, gate: Gate, word: Condition) -> None:
        """Put the router's word in force; what this edge counted itself (requests seen) stays."""
        word.seen, word.recent = gate.condition.seen, gate.condition.recent
        gate.condition = word
        gate.pending = None
        self._health.conditions[gate.key] = word

    def _apply_pending(self, gate: Gate) -> None:
        if gate.pending is None:
            return
        word = gate.pending[1]
        if word is None:
            self._close(gate.key)
            gate.condition = Condition()
            gate.pending = None
        else:
            self._adopt(gate, word)

    def _open(self, key: Key, condition: Condition) -> Gate:
        gate = Gate(key, condition)
        self._gates[key] = gate
        self._health.conditions[key] = condition
        self._tie(key, gate)
        return gate

    def _close(self, key: Key) -> None:
        self._gates.pop(key, None)
        self._health.conditions.pop(key, None)
        self._tie(key, None)

    def _tie(self, key: Key, gate: Gate | None) -> None:
        if key.model:
            lane = self.lanes.get((key.account, key.model))
            if lane is not None:
                lane.gate = gate
                lane.refresh()
            return
        account = self.accounts.get(key.account)
        if account is None:
            return
        if key.operation == COUNT_TOKENS:
            account.count_gate = gate
        else:
            account.gate = gate
        account.refresh()
