"""What answers say of accounts' limits: read whenever it can change what is decided, and else seldom."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from penstock_edge.hints import FRESH_SECONDS, PLENTY, HintReader
from penstock_edge.providers.anthropic import WIRE
from penstock_routing import AccountFacts, Outcome, Pool, Traits, outcomes
from penstock_routing.candidates import Cooldown, Pick

LIMIT = 1_000
ALL = LIMIT


class Reading:
    """A pool with accounts `a` and `b` whose answers are read, on a clock of its own."""

    def __init__(self):
        self.now = 100.0
        self.pool = Pool()
        self.pool.load([AccountFacts(name=name, models=("m", "n")) for name in "ab"], self.now)
        self.reader = HintReader(self.pool, lambda: self.now)

    def pick(self, account="a", model="m", operation=outcomes.MESSAGES):
        tried = frozenset("ab".replace(account, ""))
        traits = Traits(project="p", model=model, operation=operation, estimated_tokens=10)
        pick = self.pool.pick(traits, tried, self.now, random.random)
        assert isinstance(pick, Pick)
        assert pick.account == account
        return pick

    def answer(self, left, pick=None, status=200):
        """Read an answer that says how many requests are left (None: nothing); return its pick."""
        pick = pick or self.pick()
        said = {} if left is None else {b"requests-limit": LIMIT, b"requests-remaining": left}
        headers = [(b"anthropic-ratelimit-" + name, b"%d" % value) for name, value in said.items()]
        self.reader.read(WIRE, pick, SimpleNamespace(status=status, headers=headers))
        return pick

    def level(self, account="a", model="m"):
        gauges = self.pool._serving.lanes[account, model].gauges
        return None if gauges is None else gauges.gauges[0].left(self.now)


@pytest.fixture
def reading():
    return Reading()


def test_where_there_is_plenty_the_next_is_left_unread_for_a_moment(reading):
    first = reading.answer(ALL)
    reading.now += FRESH_SECONDS * 0.9
    second = reading.answer(5)
    assert reading.level() > LIMIT * PLENTY
    # Whoever asks later is told that the account speaks of its limits.
    assert second.heard is first.heard is not None
    reading.now += FRESH_SECONDS * 0.2
    reading.answer(5)
    assert reading.level() == 5


def test_where_less_is_left_each_is_read(reading):
    reading.answer(int(LIMIT * PLENTY) - 1)
    for left in (900, 500, 3):
        assert reading.answer(left).heard.requests_remaining == left
        assert reading.level() == left


def test_what_was_sent_meanwhile_counts_before_it_is_read(reading):
    reading.answer(ALL)
    for _ in range(int(LIMIT * (1 - PLENTY)) + 2):
        reading.pick()
    reading.answer(77)
    assert reading.level() == 77


@pytest.mark.parametrize("status", [400, 429, 500, 503, 529])
def test_errors_are_read_always(reading, status):
    reading.answer(ALL)
    assert reading.answer(3, status=status).heard.requests_remaining == 3
    assert reading.level() == 3


@pytest.mark.parametrize(("account", "model"), [("b", "m"), ("a", "n")])
def test_each_account_and_model_is_read_for_itself(reading, account, model):
    reading.answer(ALL)
    reading.answer(9, reading.pick(account, model))
    assert reading.level(account, model) == 9


def test_counting_tokens_is_read_always_and_makes_nothing_else_unread(reading):
    for left in (ALL, ALL - 1):
        counted = reading.answer(left, reading.pick(operation=outcomes.COUNT_TOKENS))
        assert counted.heard.requests_remaining == left
    assert reading.answer(ALL - 2).heard.requests_remaining == ALL - 2


def test_the_answer_of_an_account_that_returns_is_read(reading):
    reading.answer(ALL)
    returning = Cooldown(account="a", model="m", cls=outcomes.OVERLOADED, ramp_percent=50)
    reading.pool.set_cooldown(returning, reading.now)
    reading.now += 0.001
    pick = reading.pick()
    assert pick.gates
    assert reading.answer(4, pick).heard.requests_remaining == 4


def test_an_account_that_says_nothing_is_asked_again_a_moment_later(reading):
    assert reading.answer(None).heard is None
    assert reading.answer(5).heard is None
    reading.now += FRESH_SECONDS * 1.1
    reading.answer(5)
    assert reading.level() == 5


def test_silence_hides_nothing_of_limits_that_are_known_to_be_near(reading):
    reading.answer(500)
    reading.answer(None)
    reading.answer(400)
    assert reading.level() == 400


def test_an_unread_answer_ends_as_a_read_one_does(reading):
    reading.answer(ALL)
    changes = []
    for left in (ALL, ALL):
        reading.now += FRESH_SECONDS * len(changes)
        pick = reading.answer(left)
        before = reading.pool.changes
        ended = Outcome(
            request_id="r", project="p", account="a", model="m", operation=outcomes.MESSAGES, cls=outcomes.OK,
            status=200, sent_at=reading.now, ended_at=reading.now, first_byte=True, tokens=10, hints=pick.heard,
        )  # fmt: skip
        assert not reading.pool.finished(pick, ended, reading.now)
        changes.append(reading.pool.changes - before)
    assert changes[0] == changes[1]


def test_names_without_end_do_not_fill_memory(reading, monkeypatch):
    monkeypatch.setattr("penstock_edge.hints._KNOWN_AT_MOST", 1)
    reading.answer(ALL)
    reading.answer(ALL, reading.pick("b"))
    assert len(reading.reader._told) == 1
