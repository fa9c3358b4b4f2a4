"""Who gets the room that there is, who gives up, and when to look again."""

from __future__ import annotations

import pytest

from penstock_routing import AccountFacts, NoneLeft, Pick, Pool, Share, Traits
from penstock_routing.waiting_room import WaitingRoom, hopeless

SOON = NoneLeft(throttled=True, soonest_seconds=0.01, reasons={"a": "RequestsSpent"})
LATE = NoneLeft(throttled=True, soonest_seconds=60.0, reasons={"a": "Throttled"})
FULL = NoneLeft(throttled=True, soonest_seconds=1.0, reasons={"a": "SlotsFull"})


class Bench:
    """A room, and so much that there is to be had."""

    def __init__(self, places=10, **more):
        self.room = WaitingRoom(places, **more)
        self.now = 100.0
        self.left = 0
        self.refusal = SOON

    def ask(self, now):
        if self.left <= 0:
            return self.refusal
        self.left -= 1
        return "pick"

    def enter(self, ticket, project="p", *, line="m", cost=1.0, seconds=2.0, first=None, ask=None):
        return self.room.enter(
            line,
            ask or self.ask,
            ticket,
            project=project,
            cost=cost,
            deadline=self.now + seconds,
            first=first,
            now=self.now,
        )

    def turn(self, left=0):
        self.left = left
        return [(ticket, answer) for ticket, answer in self.room.turn(self.now)]


@pytest.fixture
def bench():
    return Bench()


def test_room_goes_to_who_waits(bench):
    for ticket in "abc":
        bench.enter(ticket, first=SOON)
    assert bench.turn() == []
    assert bench.turn(2) == [("a", "pick"), ("b", "pick")]
    assert bench.turn(1) == [("c", "pick")]
    assert len(bench.room) == 0
    assert not bench.room.busy("m")


def test_projects_take_turns(bench):
    for number in range(4):
        bench.enter(f"many{number}", "many", cost=5000)
    bench.enter("few", "few", cost=5000)
    assert "few" in [ticket for ticket, _ in bench.turn(2)]


def test_it_ends_with_the_last_word_on_its_line(bench):
    bench.enter("a", first=NoneLeft(throttled=True, soonest_seconds=1.9, reasons={"a": "TokensSpent"}))
    bench.now += 1.5
    bench.enter("b")
    bench.now += 0.5
    ((ticket, answer),) = bench.turn()
    assert (ticket, answer.reasons) == ("a", {"a": "TokensSpent"})
    assert answer.soonest_seconds == pytest.approx(0.001)
    bench.now += 1.5
    ((ticket, answer),) = bench.turn()
    assert (ticket, answer.reasons) == ("b", SOON.reasons)


def test_who_cannot_be_served_in_time_is_told_at_once(bench):
    bench.enter("a")
    bench.enter("b")
    bench.refusal = LATE
    assert bench.turn() == [("a", LATE), ("b", LATE)]


def test_a_guess_is_no_reason_to_give_up(bench):
    bench.enter("a", seconds=0.5)
    bench.refusal = FULL
    assert bench.turn() == []


def test_the_crowded_out_are_told_in_the_next_turn():
    bench = Bench(2)
    for ticket in "abc":
        bench.enter(ticket)
    assert bench.room.due() < bench.now
    assert [ticket for ticket, _ in bench.turn()] == ["c"]
    bench.enter("late", "other")
    assert [ticket for ticket, _ in bench.turn()] == ["b"]


def test_of_one_project_three_quarters():
    bench = Bench(8)
    for ticket in range(8):
        bench.enter(ticket)
    assert [ticket for ticket, _ in bench.turn()] == [6, 7]


def test_one_line_does_not_hold_another_up(bench):
    bench.enter("a", line="m", ask=lambda now: SOON)
    bench.enter("b", line="n")
    assert bench.turn(1) == [("b", "pick")]


def test_when_to_look_again(bench):
    assert bench.room.due() == float("inf")
    bench.enter("a", first=NoneLeft(throttled=True, soonest_seconds=0.05, reasons={}))
    assert bench.room.due() == pytest.approx(bench.now + 0.05)
    bench.refusal = FULL
    bench.turn()
    assert bench.room.due() == pytest.approx(bench.now + 0.1)
    bench.enter("b", seconds=0.01)
    assert bench.room.due() == pytest.approx(bench.now + 0.01)


def test_somebody_who_leaves_is_not_served(bench):
    place = bench.enter("a", first=SOON)
    bench.enter("b")
    bench.room.leave(place)
    bench.room.leave(place)
    assert bench.turn(2) == [("b", "pick")]
    assert bench.room.refusal("m", bench.now) is None


def test_the_word_on_a_line(bench):
    assert bench.room.refusal("m", bench.now) is None
    bench.enter("a", first=SOON)
    assert bench.room.refusal("m", bench.now + 0.005).soonest_seconds == pytest.approx(0.005)


@pytest.mark.parametrize(("none", "seconds", "vain"), [(SOON, 1.0, False), (LATE, 2.0, True), (FULL, 0.1, False)])
def test_hopeless(none, seconds, vain):
    assert hopeless(none, seconds) is vain


def test_a_pool_tells_whenever_there_may_be_more_room():
    pool, now, told = Pool(), 100.0, []
    pool.load([AccountFacts(name="a", models=("m",))], now)
    pool.listen(lambda: told.append(now))
    pool.set_share("a", 1, Share(slots=1), now)
    assert len(told) == 1
    pick = pool.pick(Traits(model="m"), frozenset(), now, lambda: 0.5)
    assert isinstance(pick, Pick)
    assert len(told) == 1
    pool.unused(pick, now)
    assert len(told) == 2
    pool.clear_cooldown("a", "m", "", now)
    pool.set_cooldowns([], now)
    assert len(told) == 4
