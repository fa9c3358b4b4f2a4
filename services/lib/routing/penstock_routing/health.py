"""The health of all accounts: outcomes, probes and new credentials become conditions by (account, model, operation)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from penstock_routing import condition as c
from penstock_routing import outcomes as o
from penstock_routing.condition import Condition, Phase
from penstock_routing.policy import Policy, Scope

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from penstock_routing.outcomes import Outcome

_KEEP_SECONDS: Final = 600.0
_SUCCESSES: Final = frozenset({o.OK, o.BEGUN})


class Key(NamedTuple):
    """What a condition belongs to. Empty model: the whole account; empty operation: all of them."""

    account: str
    model: str = ""
    operation: str = ""


def failure_key(policy: Policy, account: str, model: str, operation: str, cls: str) -> Key | None:
    """Return what a failure of `cls` takes out; None when nothing. A throttled count_tokens concerns itself only."""
    effect = policy.effect(cls)
    if effect.scope is Scope.NONE:
        return None
    if effect.scope is Scope.ACCOUNT:
        return Key(account)
    if operation == o.COUNT_TOKENS and effect.throttle:
        return Key(account, "", o.COUNT_TOKENS)
    return Key(account, model)


def success_keys(account: str, model: str, operation: str) -> tuple[Key, ...]:
    """Return what a success is proof for. count_tokens is not billed, so it proves itself only."""
    if operation == o.COUNT_TOKENS:
        return (Key(account, "", o.COUNT_TOKENS),)
    return (Key(account, model), Key(account))


class Health:
    """All conditions. `now` is the owner's clock in seconds; every method returns the keys that changed."""

    __slots__ = ("conditions", "policy", "probed_at")

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.conditions: dict[Key, Condition] = {}
        self.probed_at: dict[str, float] = {}

    def observe(self, outcome: Outcome, now: float) -> set[Key]:
        """Apply what happened to one attempt."""
        if outcome.cls in _SUCCESSES or (outcome.cls == o.CLIENT_LEFT and outcome.first_byte):
            return self._succeed(outcome, now)
        changed: set[Key] = set()
        cls = self._named(outcome)
        key = failure_key(self.policy, outcome.account, outcome.model, outcome.operation, cls)
        # An upstream that has something left refused this one for its size: others may be small enough.
        if key is not None and not (cls == o.THROTTLED and outcome.hints is not None and outcome.hints.any_left()):
            condition = self.conditions.setdefault(key, Condition())
            if c.fail(
                condition,
                self.policy,
                cls=cls,
                request_id=outcome.request_id,
                project=outcome.project,
                sent_at=outcome.sent_at,
                ended_at=min(outcome.ended_at, now),
                retry_after=outcome.retry_after,
                now=now,
                paced=outcome.hints is not None,
            ):
                changed.add(key)
        if outcome.trial:
            changed |= self._release(outcome, key, now)
        return changed

    def probed(self, account: str, *, status: int, now: float) -> set[Key]:
        """Apply an unbilled probe: `status` of its answer, 0 for none. Its success opens the way for a trial only."""
        self.probed_at[account] = now
        changed: set[Key] = set()
        succeeded = 200 <= status < 300
        refused = status in {401, 403}
        for key, condition in list(self._of(account)):
            for cls, state in condition.classes.items():
                forever = state.until == c.FOREVER
                if not forever and not state.until > now >= state.probe_at:
                    continue
                if not succeeded:
                    self._postpone(condition, cls, now)
                elif forever or state.probes_failed:
                    c.lift(condition, cls, now, forget=False)
                else:
                    # It answered all the time: what it refuses is shown by requests alone.
                    state.probe_at = c.FOREVER
                changed.add(key)
            if not succeeded and self._doubtful(condition, now):
                changed.add(key)
        if refused:
            changed |= self._refused(account, status, now)
        return changed

    def credential_changed(self, account: str, now: float) -> set[Key]:
        """Give an account with a new credential its chance at once."""
        changed: set[Key] = set()
        for key, condition in self._of(account):
            for cls in condition.classes:
                if self.policy.effect(cls).lifted_by_credential and c.lift(condition, cls, now, forget=True):
                    changed.add(key)
        return changed

    def offer_trial(self, key: Key, session: str, until: float, now: float) -> bool:
        """Let `session` send the one request of a half-open return, until `until`; False when there is none."""
        condition = self.conditions.get(key)
        if condition is None or condition.phase(now) is not Phase.HALF_OPEN:
            return False
        condition.trial_session, condition.trial_until, condition.changed_at = session, until, now
        return True

    def waiting(self, now: float) -> list[Key]:
        """Return the half-open conditions whose trial nobody has, or has had for too long."""
        return [
            key
            for key, condition in self.conditions.items()
            if condition.step < 0 and condition.phase(now) is Phase.HALF_OPEN and condition.trial_until <= now
        ]

    def due_probes(self, now: float) -> set[str]:
        """Return the accounts to probe: those that wait for one, and those under suspicion."""
        due: set[str] = set()
        effect = self.policy.effect(o.UNSTABLE)
        for key, condition in self.conditions.items():
            if any(state.until > now >= state.probe_at for state in condition.classes.values()) or (
                condition.recent
                and self.probed_at.get(key.account, float("-inf")) < condition.recent[-1].at
                and c.suspicious(condition, effect, now)
            ):
                due.add(key.account)
        return due

    def soonest(self, now: float) -> float:
        """Return when something changes by time alone; inf when nothing will."""
        return min((u for item in self.conditions.values() if (u := item.until()) > now), default=float("inf"))

    def keep(self, served: Mapping[str, Collection[str]], now: float) -> set[Key]:
        """Forget accounts that are gone, models that they serve no more, and conditions that nothing remembers.

        `served`: models by account. Returns the keys forgotten. Nothing would ever end what belongs to no model.
        """
        gone = {
            key
            for key, condition in self.conditions.items()
            if key.account not in served
            or (key.model and key.model not in served[key.account])
            or condition.idle(now, _KEEP_SECONDS)
        }
        for key in gone:
            del self.conditions[key]
        self.probed_at = {name: at for name, at in self.probed_at.items() if name in served}
        return gone

    def _named(self, outcome: Outcome) -> str:
        cls = outcome.cls if outcome.cls in self.policy.effects else o.UNSTABLE
        if cls in {o.THROTTLED, o.THROTTLED_NO_HINT}:
            return o.THROTTLED_NO_HINT if outcome.retry_after is None else o.THROTTLED
        return cls

    def _succeed(self, outcome: Outcome, now: float) -> set[Key]:
        return {
            key
            for key in success_keys(outcome.account, outcome.model, outcome.operation)
            if (condition := self.conditions.get(key)) is not None
            and c.succeed(condition, self.policy, sent_at=outcome.sent_at, now=now)
        }

    def _release(self, outcome: Outcome, failed: Key | None, now: float) -> set[Key]:
        """Give the place of a trial that failed elsewhere, or showed nothing, to the next request."""
        return {
            key
            for key in success_keys(outcome.account, outcome.model, outcome.operation)
            if key != failed
            and (condition := self.conditions.get(key)) is not None
            and condition.phase(now) is Phase.HALF_OPEN
            and c.release_trial(condition, now)
        }

    def _of(self, account: str) -> Iterator[tuple[Key, Condition]]:
        return ((key, condition) for key, condition in self.conditions.items() if key.account == account)

    def _postpone(self, condition: Condition, cls: str, now: float) -> None:
        state, effect = condition.classes[cls], self.policy.effect(cls)
        state.probes_failed += 1
        seconds = c.cooldown_seconds(self.policy, effect, state.streak + state.probes_failed, None)
        state.probe_at = now + (effect.probe_seconds or seconds)
        condition.changed_at = now

    def _doubtful(self, condition: Condition, now: float) -> bool:
        """Two requests failed, and now a probe: that suffices."""
        condition.probe_failed_at = now
        if condition.phase(now) is not Phase.HEALTHY:
            return False
        if not c.suspicious(condition, self.policy.effect(o.UNSTABLE), now):
            return False
        c.cool(condition, self.policy, cls=o.UNSTABLE, ended_at=now, retry_after=None, now=now)
        return True

    def _refused(self, account: str, status: int, now: float) -> set[Key]:
        cls = o.CREDENTIAL_INVALID if status == 401 else o.FORBIDDEN
        key = Key(account)
        condition = self.conditions.setdefault(key, Condition())
        if condition.until() == c.FOREVER:
            return set()
        c.cool(condition, self.policy, cls=cls, ended_at=now, retry_after=None, now=now)
        return {key}
