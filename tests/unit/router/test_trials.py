"""Which edge tries an account that may be back."""

from __future__ import annotations

import pytest

from penstock_router import trials
from penstock_router.messages import Word
from penstock_router.sessions import EdgeSession, Sessions
from penstock_routing import Policy
from penstock_routing.condition import Phase
from penstock_routing.health import Key
from penstock_routing.shares import Demand


def session(name, *, wants=0, in_flight=0, busy=False, offered_at=float("-inf"), account="a"):
    demand = {}
    if wants:
        demand[account] = Demand(wants, 0, 0)
    if busy:
        demand["other"] = Demand(0, 60, 0)
    return EdgeSession(name, watches=1, demand=demand, in_flight={account: in_flight}, offered_at=offered_at)


@pytest.mark.parametrize(
    ("sessions", "chosen"),
    [
        ([], None),
        ([session("idle")], "idle"),
        ([session("idle"), session("busy", busy=True)], "busy"),
        ([session("busy", busy=True), session("waits", wants=1)], "waits"),
        # What it wants is under way there: nothing waits.
        ([session("busy", busy=True, offered_at=5.0), session("served", wants=1, in_flight=1)], "served"),
        # By turns, else by name.
        ([session("x", busy=True, offered_at=5.0), session("y", busy=True, offered_at=4.0)], "y"),
        ([session("y", busy=True), session("x", busy=True)], "x"),
    ],
)
def test_who_has_a_use_for_a_trial_gets_it(sessions, chosen):
    found = trials.fittest("a", sessions)
    assert (found and found.name) == chosen


def test_an_idle_session_has_it_for_a_moment_only():
    policy = Policy()
    assert trials.seconds_for(session("s", busy=True), policy) == policy.trial_seconds
    assert trials.seconds_for(session("s"), policy) < policy.trial_seconds


@pytest.mark.parametrize(
    ("holder", "other", "unused"),
    [
        # Its requests wait elsewhere, and its holder has had none for it for a second.
        ({}, {"wants": 1}, True),
        # A moment ago it was given away.
        ({"offered_at": 9.5}, {"wants": 1}, False),
        # The holder has a request for it.
        ({"wants": 1, "in_flight": 1}, {"wants": 1}, False),
        # Nobody waits for it.
        ({}, {}, False),
        ({}, {"wants": 1, "account": "b"}, False),
    ],
)
def test_a_trial_is_unused_where_its_holder_has_no_request_and_others_wait(holder, other, unused):
    sessions = Sessions()
    holder = {"offered_at": 5.0, **holder}
    for name, told in (("holder", holder), ("other", other)):
        made = session(name, **told)
        known = sessions.known(name, 10.0)
        for field in ("watches", "demand", "in_flight", "offered_at"):
            setattr(known, field, getattr(made, field))
    key = Key("a", "m", "")
    words = {key: Word(Phase.HALF_OPEN, "Overloaded", 0.0, trial_session="holder")}
    found = trials.unused(words, sessions, 10.0)
    assert found == ([key] if unused else [])
