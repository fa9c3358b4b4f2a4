"""Who is next: fair by project in cost, bounded, and nobody starves."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock_routing.fair_queue import FairQueue, Line, Place
from tests.effort import examples


def queue(places=1000, one=1000):
    return FairQueue(places, one)


def put(found, project, cost=1.0, *, line="m", deadline=10.0, ticket=None):
    place = Place(Line("g", line), project, cost, deadline, ticket)
    return place, found.add(place, 0.0)


def serve(found, group="g", without=()):
    place = found.head(group, {Line(group, line) for line in without})
    if place is not None:
        found.served(place, 0.0)
    return place


class TestOrder:
    def test_first_come_first_served_within_a_project(self):
        found = queue()
        places = [put(found, "p", cost)[0] for cost in (5, 500, 1)]
        assert [serve(found) for _ in range(4)] == [*places, None]

    def test_a_project_with_few_does_not_wait_behind_one_with_many(self):
        found = queue()
        for _ in range(50):
            put(found, "many", 60)
        few, _ = put(found, "few", 60)
        assert few in [serve(found) for _ in range(3)]

    def test_a_line_may_be_passed_over(self):
        found = queue()
        one, _ = put(found, "p", line="m")
        other, _ = put(found, "p", line="n")
        assert serve(found, without="m") is other
        assert found.head("x") is None
        assert found.busy(Line("g", "m"))
        found.served(one, 0.0)
        assert not found.crowded("g", 0.0)
        assert found.lines() == []

    def test_lines_of_a_group_share_what_a_project_owes(self):
        found = queue()
        for line in "mn":
            put(found, "a", 1000, line=line)
        others = [put(found, "b", 100, line="n")[0] for _ in range(5)]
        serve(found, without="n")
        assert [serve(found) for _ in range(5)] == others

    def test_groups_are_apart(self):
        found = queue()
        for group in "gh":
            found.add(Place(Line(group), "p", 1000, 10.0, None), 0.0)
            found.add(Place(Line(group), "q", 1, 10.0, None), 0.0)
        assert found.groups() == ["g", "h"]
        serve(found, "g")
        assert found.groups() == ["h", "g"]
        assert serve(found, "h").project == "p"

    def test_the_head_stays_until_it_is_served(self):
        found = queue()
        for number in range(20):
            put(found, f"p{number % 3}", 40.0 * (number % 7))
        first = found.head("g")
        for _ in range(5):
            assert found.head("g") is first

    def test_a_huge_one_goes_at_once_when_it_is_alone(self):
        found = queue()
        place, _ = put(found, "p", 1e12)
        assert found.head("g") is place

    def test_a_large_one_goes_in_its_turn_and_its_project_pays_afterwards(self):
        found = queue()
        for _ in range(20):
            put(found, "small", 100)
        large, _ = put(found, "large", 1000)
        put(found, "large", 1)
        order = [serve(found) for _ in range(13)]
        assert order[1] is large
        assert [place.project for place in order[2:12]] == ["small"] * 9 + ["large"]

    def test_a_deficit_is_not_forgotten_by_leaving(self):
        found = queue()
        for _ in range(30):
            put(found, "small", 100)
        put(found, "large", 1000)
        serve(found)
        serve(found)
        again, _ = put(found, "large", 1000)
        assert again not in [serve(found) for _ in range(8)]
        assert again in [serve(found) for _ in range(3)]

    def test_who_gives_up_pays_nothing(self):
        found = queue()
        gone, _ = put(found, "a", 1000)
        put(found, "b", 10)
        put(found, "b", 10)
        found.leave(gone)
        again, _ = put(found, "a", 10)
        assert again in [serve(found) for _ in range(2)]


class TestPressure:
    def test_who_has_been_given_less_is_light(self):
        found = queue()
        for _ in range(10):
            put(found, "much", 1000)
            serve(found)
        put(found, "little", 5000)
        serve(found)
        much, little, new = (put(found, name)[0] for name in ("much", "little", "new"))
        assert [found.light(place, 1.0) for place in (much, little, new)] == [False, True, True]
        for _ in range(9):
            found.served(put(found, "little", 1000)[0], 1.0)
        assert [found.light(place, 2.0) for place in (much, little, new)] == [True, False, True]

    def test_it_is_crowded_for_a_while_after_somebody_was_refused(self):
        found = queue()
        place, _ = put(found, "p")
        assert found.crowded("g", 0.0)
        found.pressed(place, 0.0)
        found.leave(place)
        assert found.crowded("g", 9.0)
        assert not found.crowded("g", 11.0)

    def test_deficits_are_forgotten_when_nobody_has_waited_for_a_while(self):
        found = queue()
        put(found, "a", 1000)
        serve(found)
        again = Place(Line("g", "m"), "a", 1.0, 100.0, None)
        found.add(again, 60.0)
        found.add(Place(Line("g", "m"), "b", 1.0, 100.0, None), 60.0)
        assert found.head("g") is again


class TestBounds:
    def test_of_one_project(self):
        found = queue(10, 3)
        assert [put(found, "p")[1] is None for _ in range(5)] == [True, True, True, False, False]
        assert len(found) == found.waiting("p") == 3

    def test_when_it_is_full_the_longest_gives_its_last_one(self):
        found = queue(4, 4)
        places = [put(found, "greedy")[0] for _ in range(4)]
        late, loser = put(found, "late")
        assert loser is places[-1]
        assert late.waiting
        assert put(found, "late")[1] is places[-2]
        refused, loser = put(found, "late")
        assert refused is loser
        assert len(found) == 4

    def test_no_places_at_all(self):
        place, loser = put(queue(0, 0), "p")
        assert place is loser


class TestDeadlines:
    def test_they_come_in_order(self):
        found = queue()
        places = [put(found, "p", deadline=deadline)[0] for deadline in (3.0, 1.0, 2.0)]
        assert found.next_deadline() == 1.0
        assert found.expired(2.0) == [places[1], places[2]]
        assert found.next_deadline() == 3.0
        assert found.expired(2.9) == []
        assert serve(found) is places[0]
        assert found.next_deadline() == float("inf")

    def test_one_that_left_does_not_come_up(self):
        found = queue()
        place, _ = put(found, "p", deadline=1.0)
        found.leave(place)
        found.leave(place)
        assert found.expired(5.0) == []
        assert len(found) == 0

    def test_they_are_forgotten_with_their_places(self):
        found = queue()
        for _ in range(5000):
            put(found, "p")
            serve(found)
        assert len(found._deadlines) <= 70


@given(
    costs=st.lists(st.floats(1.0, 5000.0), min_size=2, max_size=6),
    served=st.integers(1, 400),
    seed=st.integers(0, 1000),
)
@settings(max_examples=examples(60), deadline=None)
def test_projects_that_always_wait_are_served_alike(costs, served, seed):
    """Over any time they differ by the largest request of each at most."""
    rng = random.Random(seed)
    found = queue()
    largest = 0.0

    def renew(project):
        nonlocal largest
        cost = costs[project] * rng.uniform(0.1, 1.0)
        largest = max(largest, cost, 1.0)
        put(found, f"{project}", cost)

    for project in range(len(costs)):
        for _ in range(3):
            renew(project)
    paid: Counter[str] = Counter()
    history = []
    for _ in range(served):
        place = serve(found)
        paid[place.project] += place.cost
        history.append({f"{project}": paid[f"{project}"] for project in range(len(costs))})
        renew(int(place.project))
    for begin in (0, served // 3, served // 2):
        earlier = history[begin]
        gained = [history[-1][name] - earlier[name] for name in earlier]
        assert max(gained) - min(gained) <= 2 * largest + 1e-6
    assert max(history[-1].values()) - min(history[-1].values()) <= largest + 1e-6


@given(costs=st.lists(st.floats(1.0, 20_000.0), min_size=1, max_size=40), projects=st.integers(1, 5))
@settings(max_examples=examples(60), deadline=None)
def test_nobody_starves(costs, projects):
    found = queue()
    places = [put(found, f"p{index % projects}", cost)[0] for index, cost in enumerate(costs)]
    assert {serve(found) for _ in places} == set(places)
    assert serve(found) is None


class QueueMachine(RuleBasedStateMachine):
    """Any order of joining, serving, leaving and time against a plain list."""

    def __init__(self):
        super().__init__()
        self.found = queue(8, 5)
        self.there = []
        self.now = 0.0

    @rule(
        project=st.sampled_from("abc"),
        line=st.sampled_from("mn"),
        cost=st.floats(0.0, 1000.0),
        seconds=st.floats(0.1, 5.0),
    )
    def join(self, project, line, cost, seconds):
        place, loser = put(self.found, project, cost, line=line, deadline=self.now + seconds)
        if loser is not place:
            self.there.append(place)
        if loser is not None and loser is not place:
            self.there.remove(loser)

    @rule(line=st.sampled_from("mn"))
    def serve(self, line):
        place = serve(self.found, without={"m", "n"} - {line})
        mine = [other for other in self.there if other.line.what == line]
        if place is None:
            assert mine == []
        else:
            assert next(other for other in mine if other.project == place.project) is place
            self.there.remove(place)

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def leave(self, data):
        self.found.leave(self.there.pop(data.draw(st.integers(0, len(self.there) - 1))))

    @rule(seconds=st.floats(0.0, 2.0))
    def time(self, seconds):
        self.now += seconds
        gone = self.found.expired(self.now)
        assert set(gone) == {place for place in self.there if place.deadline <= self.now}
        self.there = [place for place in self.there if place.waiting]

    @invariant()
    def counts_agree(self):
        counts: dict[str, int] = defaultdict(int)
        for place in self.there:
            counts[place.project] += 1
        assert len(self.found) == len(self.there) <= 8
        assert all(self.found.waiting(project) == counts[project] <= 5 for project in "abc")
        assert set(self.found.lines()) == {place.line for place in self.there}
        assert self.found.next_deadline() == min((place.deadline for place in self.there), default=float("inf"))


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=examples(30), stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("projects", [1, 7])
def test_huge_and_tiny_share_alike(projects):
    """A project of 150k prompts and one of 1k prompts get the same tokens."""
    found = FairQueue(1000, 1000)
    paid = Counter()
    for number in range(projects):
        put(found, f"tiny{number}", 1_000)
    put(found, "huge", 150_000)
    for _ in range(20_000):
        place = serve(found)
        paid[place.project] += place.cost
        put(found, place.project, place.cost)
    fair = sum(paid.values()) / (projects + 1)
    assert all(amount == pytest.approx(fair, rel=0.05) for amount in paid.values())
