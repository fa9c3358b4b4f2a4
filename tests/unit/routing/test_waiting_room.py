"""Who gets the room that there is, who gives up, who waits for the account that has its cache, when to look again."""

from __future__ import annotations

import pytest

from penstock_routing import AccountFacts, Cooldown, Hints, NoneLeft, Outcome, Pick, Pool, Share, Traits
from penstock_routing.waiting_room import WaitingRoom, Wish, hopeless

NOBODY = frozenset()


class Bench:
    """A room before accounts with so many slots each."""

    def __init__(self, accounts="a", slots=1, places=10, seconds=2.0):
        self.now = 100.0
        self.pool = Pool()
        self.pool.load([AccountFacts(name=name, models=("m", "n")) for name in accounts], self.now)
        self.version = 0
        for name in accounts:
            self.slots(name, slots)
        self.room = WaitingRoom(self.pool, lambda: 0.5, places=places, seconds=seconds)

    def slots(self, name, count):
        self.version += 1
        self.pool.set_share(name, self.version, Share(slots=count), self.now)

    def seek(self, ticket, project="p", *, model="m", tokens=1000, affinity=None, tried=NOBODY):
        traits = Traits(model=model, project=project, estimated_tokens=tokens, affinity=affinity)
        return self.room.seek(Wish(traits, tried, ticket), self.now)

    def turn(self):
        return [
            (ticket, answer.account if isinstance(answer, Pick) else answer.reasons)
            for ticket, answer in self.room.turn(self.now)
        ]

    def end(self, pick, cls="Ok", tokens=1000, **more):
        outcome = Outcome(
            request_id="r",
            project="p",
            account=pick.account,
            model=pick.model,
            cls=cls,
            sent_at=pick.taken_at,
            ended_at=self.now,
            tokens=tokens,
            **more,
        )
        self.pool.finished(pick, outcome, self.now)

    def warm(self, affinity, tokens=40_000):
        """Have a conversation of so many tokens served; returns where."""
        pick = self.seek("", tokens=tokens, affinity=affinity)
        self.end(pick, tokens=tokens)
        return pick.account


@pytest.fixture
def bench():
    return Bench()


def test_room_goes_to_who_waits(bench):
    pick = bench.seek("first")
    assert bench.seek("a") is None
    assert bench.seek("b") is None
    assert bench.turn() == []
    bench.pool.unused(pick, bench.now)
    assert bench.turn() == [("a", "a")]
    assert len(bench.room) == 1


def test_a_newcomer_goes_behind_even_when_there_is_room(bench):
    pick = bench.seek("first")
    bench.seek("a")
    bench.pool.unused(pick, bench.now)
    assert bench.seek("b") is None
    assert bench.room.due() < bench.now
    assert bench.turn() == [("a", "a")]


def test_projects_take_turns(bench):
    pick = bench.seek("first")
    for number in range(4):
        bench.seek(f"many{number}", "many", tokens=5000)
    bench.seek("few", "few", tokens=5000)
    bench.pool.unused(pick, bench.now)
    bench.slots("a", 2)
    assert "few" in [ticket for ticket, _ in bench.turn()]


def test_it_ends_with_the_last_word_on_its_line(bench):
    bench.seek("first")
    bench.seek("a")
    bench.now += 1.5
    bench.seek("b")
    assert bench.turn() == []
    bench.now += 0.5
    assert bench.turn() == [("a", {"a": "SlotsFull"})]
    bench.now += 1.5
    assert bench.turn() == [("b", {"a": "SlotsFull"})]
    assert bench.room.due() == float("inf")


def test_who_cannot_be_served_in_time_is_told_at_once(bench):
    bench.seek("first")
    bench.seek("a")
    bench.seek("b")
    bench.pool.set_cooldown(Cooldown(account="a", cls="Throttled", remaining_seconds=30), bench.now)
    assert bench.turn() == [("a", {"a": "Throttled"}), ("b", {"a": "Throttled"})]
    assert bench.seek("c") is None
    assert bench.turn() == [("c", {"a": "Throttled"})]


def test_a_guess_is_no_reason_to_give_up():
    bench = Bench(slots=0, seconds=0.5)
    assert bench.seek("a") is None
    assert bench.turn() == []


def test_nobody_but_those_tried_is_no_hope(bench):
    assert bench.seek("a", tried=frozenset("a")).reasons == {"a": "Tried"}


def test_the_crowded_out_are_told_in_the_next_turn():
    bench = Bench(slots=0, places=2)
    for ticket in "abc":
        assert bench.seek(ticket) is None
    assert bench.room.due() < bench.now
    assert [ticket for ticket, _ in bench.turn()] == ["c"]
    bench.seek("late", "other")
    assert [ticket for ticket, _ in bench.turn()] == ["b"]


def test_of_one_project_three_quarters():
    bench = Bench(slots=0, places=8)
    for ticket in range(8):
        bench.seek(ticket)
    assert [ticket for ticket, _ in bench.turn()] == [6, 7]


def test_one_model_does_not_hold_another_up():
    bench = Bench("a", slots=1)
    bench.pool.set_cooldown(Cooldown(account="a", model="m", cls="Overloaded", remaining_seconds=1), bench.now)
    assert bench.seek("a", model="m") is None
    assert isinstance(bench.seek("b", model="n"), Pick)


def test_a_failed_request_does_not_hold_up_those_that_may_go_elsewhere():
    bench = Bench("ab", slots=-1)
    bench.pool.set_cooldown(Cooldown(account="b", cls="Overloaded", remaining_seconds=1), bench.now)
    assert bench.seek("retry", tried=frozenset("a")) is None
    assert bench.seek("new") is None
    assert bench.turn() == [("new", "a")]


def test_when_to_look_again():
    bench = Bench(slots=-1)
    assert bench.room.due() == float("inf")
    bench.pool.set_cooldown(Cooldown(account="a", cls="Overloaded", remaining_seconds=0.05), bench.now)
    bench.seek("a")
    assert bench.room.due() == pytest.approx(bench.now + 0.05)
    bench.slots("a", 0)
    bench.now += 0.06
    bench.pool.clear_cooldown("a", "", "", bench.now)
    bench.turn()
    assert bench.room.due() == pytest.approx(bench.now + 0.1)


def test_somebody_who_leaves_is_not_served(bench):
    pick = bench.seek("first")
    wish = Wish(Traits(model="m", project="p"), NOBODY, "a")
    assert bench.room.seek(wish, bench.now) is None
    bench.seek("b")
    bench.room.leave(wish)
    bench.room.leave(wish)
    bench.pool.unused(pick, bench.now)
    assert bench.turn() == [("b", "a")]


class TestHome:
    def test_a_warm_request_waits_for_its_account_rather_than_go_cold(self):
        bench = Bench("ab")
        home = bench.warm(b"talk")
        pick = bench.seek("other", affinity=b"talk", tokens=40_000)
        assert pick.account == home
        # The other account has room, but to read 40k tokens anew takes longer than a slot does.
        assert bench.seek("again", affinity=b"talk", tokens=40_000) is None
        assert bench.turn() == []
        bench.pool.unused(pick, bench.now)
        assert bench.turn() == [("again", home)]

    def test_when_that_takes_longer_than_it_is_worth_it_goes_elsewhere(self):
        bench = Bench("ab")
        home = bench.warm(b"talk", 12_000)
        bench.seek("other", affinity=b"talk", tokens=12_000)
        assert bench.seek("again", affinity=b"talk", tokens=12_000) is None
        bench.now += 1.1
        bench.turn()
        bench.now += 0.2
        assert bench.turn() == [("again", "b" if home == "a" else "a")] or len(bench.room) == 0

    def test_what_costs_nothing_to_read_does_not_wait(self):
        bench = Bench("ab")
        bench.warm(b"talk", 100)
        bench.seek("other", affinity=b"talk", tokens=100)
        assert isinstance(bench.seek("again", affinity=b"talk", tokens=100), Pick)

    def test_others_pass_it(self):
        bench = Bench("ab")
        home = bench.warm(b"talk")
        bench.seek("other", affinity=b"talk", tokens=40_000)
        bench.seek("again", affinity=b"talk", tokens=40_000)
        assert bench.seek("cold") is None
        assert bench.turn() == [("cold", "b" if home == "a" else "a")]

    def test_a_large_request_without_room_holds_up_no_small_ones(self):
        bench = Bench(slots=-1, seconds=20.0)
        pick = bench.seek("")
        hints = Hints(input_limit=100_000, input_remaining=40_000, input_reset_ms=36_000)
        bench.pool.heard(pick, hints, bench.now)
        assert bench.seek("large", tokens=12_000) is None
        assert bench.seek("small", tokens=400) is None
        assert bench.turn() == [("small", "a")]


@pytest.mark.parametrize(
    ("seconds_left", "reason", "seconds", "vain"),
    [(1.0, "Throttled", 2.0, False), (3.0, "Throttled", 2.0, True), (3.0, "SlotsFull", 0.1, False)],
)
def test_hopeless(seconds_left, reason, seconds, vain):
    assert hopeless(NoneLeft(throttled=True, soonest_seconds=seconds_left, reasons={"a": reason}), seconds) is vain


def test_a_pool_tells_whenever_there_may_be_more_room(bench):
    told = []
    bench.pool.listen(lambda: told.append(bench.now))
    bench.slots("a", 1)
    assert len(told) == 1
    pick = bench.seek("")
    assert len(told) == 1
    bench.pool.unused(pick, bench.now)
    assert len(told) == 2
    bench.pool.clear_cooldown("a", "m", "", bench.now)
    bench.pool.set_cooldowns([], bench.now)
    assert len(told) == 4


class TestNotAskedInVain:
    """Of whom only time can make room nobody is asked before, unless something else has happened."""

    SECONDS = 20.0

    @pytest.fixture
    def asked(self, monkeypatch):
        """A room with one who waits until an upstream has refilled, and how often the pool was asked since."""
        bench = Bench(slots=-1, seconds=self.SECONDS)
        self.pick = bench.seek("first")
        self.tell(bench, 40_000)
        assert bench.seek("large", tokens=12_000) is None
        count = []
        pick = bench.pool.pick
        monkeypatch.setattr(bench.pool, "pick", lambda *args, **more: count.append(bench.now) or pick(*args, **more))
        assert bench.turn() == []
        assert count
        count.clear()
        return bench, count

    def tell(self, bench, left):
        hints = Hints(input_limit=100_000, input_remaining=left, input_reset_ms=(100_000 - left) * 3 // 5)
        bench.pool.heard(self.pick, hints, bench.now)

    def test_while_nothing_happens(self, asked):
        bench, count = asked
        due = bench.room.due()
        assert bench.now < due <= bench.now + 0.1
        bench.now = due
        assert bench.turn() == []
        assert bench.room.due() > bench.now
        assert count == []

    def test_when_its_time_has_come(self, asked):
        bench, count = asked
        while not (departed := bench.turn()):
            bench.now = bench.room.due()
            assert bench.now < 100.0 + self.SECONDS
        assert departed == [("large", "a")]
        assert len(count) <= 2

    @pytest.mark.parametrize("left", [100_000, 39_000])
    def test_when_the_upstream_has_told_something_else(self, asked, left):
        bench, count = asked
        self.tell(bench, left)
        assert bench.turn() == ([("large", "a")] if left == 100_000 else [])
        assert count

    def test_when_the_router_has_spoken(self, asked):
        bench, _ = asked
        bench.pool.load([AccountFacts(name="b", models=("m", "n"))], bench.now)
        assert bench.turn() == [("large", "b")]

    def test_slots_are_asked_for_whenever_there_is_a_turn(self, bench):
        bench.seek("first")
        assert bench.seek("next") is None
        assert bench.turn() == []
        before = bench.pool.changes
        bench.slots("a", 2)
        assert bench.pool.changes > before
        assert bench.turn() == [("next", "a")]


@pytest.mark.parametrize("gone", [False, True])
def test_who_finds_no_place_leaves_nothing_behind(gone):
    bench = Bench(places=1)
    assert isinstance(bench.seek("served"), Pick)
    assert bench.seek("waits") is None
    for number in range(5):
        traits = Traits(model="n", project="q", estimated_tokens=1000 * 4**number)
        wish = Wish(traits, NOBODY, f"n{number}")
        assert bench.room.seek(wish, bench.now) is None
        if gone:
            bench.room.leave(wish)
    assert [ticket for ticket, _ in bench.turn()] == ([] if gone else [f"n{number}" for number in range(5)])
    assert len(bench.room) == len(bench.room._refusals) == 1
