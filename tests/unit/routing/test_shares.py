"""Splitting an account's limits: the parts never add up to more than the limit, come what may."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock_routing import Share
from penstock_routing.shares import NOTHING, Book, Demand, Limits, Offer, split, whole
from tests.effort import examples

FIELDS = ("slots", "requests_per_minute", "request_burst", "tokens_per_minute", "token_burst")


class TestSplit:
    def test_unlimited(self):
        assert split(-1, [1, 2]) == [-1, -1]

    @pytest.mark.parametrize(
        ("total", "wishes", "parts"),
        [
            (10, [0], [10]),
            (10, [0, 0], [5, 5]),
            (10, [100, 100], [5, 5]),
            (10, [100, 2], [8, 2]),
            (9, [1, 1, 1], [3, 3, 3]),
            (64, [64, 0], [61, 3]),
            (1, [5, 0], [1, 0]),
            (0, [5, 5], [0, 0]),
        ],
    )
    def test_by_demand(self, total, wishes, parts):
        assert split(total, wishes) == parts

    @given(st.integers(0, 10_000), st.lists(st.integers(0, 5000), min_size=1, max_size=20))
    def test_adds_up_exactly_and_is_never_negative(self, total, wishes):
        parts = split(total, wishes)
        assert sum(parts) == total
        assert min(parts) >= 0

    @given(st.integers(20, 10_000), st.integers(2, 10))
    def test_an_idle_edge_keeps_a_little(self, total, count):
        parts = split(total, [10**6] * (count - 1) + [0])
        assert parts[-1] >= 1


class TestWhole:
    @given(st.integers(0, 100_000))
    def test_no_minute_holds_more_than_the_limit(self, limit):
        share = whole(Limits(requests_per_minute=limit))
        # A bucket admits at most floor(burst + rate * minute) in a half-open minute.
        at_most = share.request_burst + share.requests_per_minute
        assert at_most <= limit + 1 if limit else at_most == 0
        assert share.request_burst <= max(limit // 10, 1)

    def test_almost_all_of_it_is_usable(self):
        share = whole(Limits(requests_per_minute=4000, tokens_per_minute=400_000, slots=64))
        assert share == Share(
            slots=64, requests_per_minute=3601, request_burst=400, tokens_per_minute=360_001, token_burst=40_000
        )

    def test_no_limits(self):
        assert whole(Limits()) == Share()


def book(limits=None, **more):
    return Book(limit=whole(limits or Limits(slots=10)), **more)


def joined(*sessions, limits=None):
    result = book(limits)
    for session in sessions:
        result.join(session, None, 0.0)
    return result


class TestBook:
    def test_one_session_gets_all(self):
        offers = joined("s1").rebalance(0.0)
        assert offers["s1"].share.slots == 10

    def test_a_second_session_waits_for_the_acknowledgement(self):
        b = joined("s1")
        first = b.rebalance(0.0)["s1"]
        b.join("s2", None, 0.0)
        offers = b.rebalance(0.0)
        assert offers["s1"].share.slots == 5
        assert offers["s2"].share.slots == 0
        b.acknowledge("s1", first.version)
        assert "s2" not in b.rebalance(0.0)
        b.acknowledge("s1", offers["s1"].version)
        assert b.rebalance(0.0)["s2"].share.slots == 5

    def test_what_is_free_is_given_once(self):
        b = book()
        b.join("s1", Offer(1, Share(slots=7)), 0.0)
        for session in ("s2", "s3"):
            b.join(session, None, 0.0)
        offers = b.rebalance(0.0)
        # s1 goes on with its seven until it has acknowledged less.
        assert offers["s1"].share.slots == 4
        assert offers["s2"].share.slots + offers["s3"].share.slots == 3

    def test_a_dead_session_frees_its_part(self):
        b = joined("s1")
        b.rebalance(0.0)
        b.join("s2", None, 20.0)
        b.rebalance(20.0)
        assert b.bury(31.0, 30.0) == ["s1"]
        assert b.rebalance(31.0)["s2"].share.slots == 10
        assert not b.leave("s1")

    def test_demand_moves_capacity(self):
        b = joined("s1", "s2")
        offers = b.rebalance(0.0)
        assert [offers[name].share.slots for name in ("s1", "s2")] == [5, 5]
        for name, offer in offers.items():
            b.acknowledge(name, offer.version)
        b.want("s2", Demand(slots=9))
        lowered = b.rebalance(1.0)
        assert lowered["s1"].share.slots < 5
        b.acknowledge("s1", lowered["s1"].version)
        assert b.rebalance(2.0)["s2"].share.slots > 5

    def test_nothing_is_sent_when_nothing_changed(self):
        b = joined("s1", "s2")
        b.rebalance(0.0)
        for name in ("s1", "s2"):
            b.acknowledge(name, b.holdings[name].newest().version)
        assert b.rebalance(1.0) == {}

    def test_a_small_change_of_demand_is_noise(self):
        b = joined("s1", "s2", limits=Limits(slots=1000))
        for name, offer in b.rebalance(0.0).items():
            b.acknowledge(name, offer.version)
        b.want("s1", Demand(slots=500))
        b.want("s2", Demand(slots=510))
        for name, offer in b.rebalance(0.0).items():
            b.acknowledge(name, offer.version)
        b.want("s2", Demand(slots=512))
        assert b.rebalance(1.0) == {}

    def test_a_restarted_router_lends_nothing_before_it_has_learned(self):
        b = book(learning_until=30.0)
        b.join("s1", Offer(7, Share(slots=4)), 0.0)
        b.join("new", None, 0.0)
        offers = b.rebalance(1.0)
        assert offers["new"].share.slots == 0
        assert b.holdings["s1"].newest().share.slots <= 4
        later = b.rebalance(30.0)
        assert later["new"].share.slots > 0

    def test_versions_go_on_from_what_edges_declare(self):
        b = book()
        b.join("s1", Offer(41, Share(slots=4)), 0.0)
        assert b.rebalance(0.0)["s1"].version == 42

    def test_a_declaration_of_something_forgotten_counts(self):
        b = joined("s1")
        b.join("s1", Offer(9, Share(slots=3)), 0.0)
        assert b.holdings["s1"].counted()[0] == 3
        b.join("s1", Offer(8, Share(slots=6)), 0.0)
        assert b.holdings["s1"].counted()[0] == 6

    def test_a_declaration_acknowledges(self):
        b = joined("s1")
        first = b.rebalance(0.0)["s1"]
        b.join("s2", None, 0.0)
        second = b.rebalance(0.0)["s1"]
        b.join("s1", second, 0.0)
        assert b.holdings["s1"].counted()[0] == second.share.slots < first.share.slots

    def test_an_unknown_version_acknowledges_nothing(self):
        b = joined("s1")
        b.rebalance(0.0)
        b.join("s2", None, 0.0)
        b.rebalance(0.0)
        b.acknowledge("s1", 10**9)
        b.acknowledge("nobody", 1)
        assert b.holdings["s1"].counted()[0] == 10

    def test_an_edge_that_never_answers_is_not_sent_offers_for_ever(self):
        b = joined("s1")
        for slots in range(1, 100):
            b.limit = whole(Limits(slots=slots))
            b.rebalance(0.0)
        assert len(b.holdings["s1"].offers) <= 16

    def test_a_limit_where_there_was_none(self):
        b = book(Limits())
        b.join("s1", None, 0.0)
        assert b.rebalance(0.0)["s1"].share == Share()
        b.limit = whole(Limits(slots=4))
        b.join("s2", None, 0.0)
        offers = b.rebalance(0.0)
        assert offers["s1"].share.slots == 2
        assert offers["s2"].share.slots == 0
        b.acknowledge("s1", offers["s1"].version)
        assert b.rebalance(0.0)["s2"].share.slots == 2

    def test_no_limit_any_longer(self):
        b = joined("s1")
        b.rebalance(0.0)
        b.limit = Share()
        assert b.rebalance(0.0)["s1"].share == Share()

    def test_a_new_life_of_an_edge_proves_the_older_dead(self):
        b = book()
        b.join("old", None, 0.0, "edge-0")
        b.rebalance(0.0)
        b.join("new", None, 1.0, "edge-0")
        assert b.supersede("new", "edge-0", alive=frozenset({"old"})) == []
        assert b.supersede("new", "", alive=frozenset()) == []
        assert b.supersede("new", "edge-0") == ["old"]
        assert b.rebalance(1.0)["new"].share.slots == 10

    def test_nobody_there(self):
        assert book().rebalance(0.0) == {}

    def test_seen_and_wanted_of_nobody(self):
        b = joined("s1")
        b.seen("s1", 5.0)
        b.seen("nobody", 5.0)
        b.want("nobody", Demand(1))
        assert b.holdings["s1"].seen_at == 5.0
        assert list(b.holdings) == ["s1"]

    def test_nothing_is_nothing(self):
        assert Book().holdings == {}
        assert all(getattr(NOTHING, field) == 0 for field in FIELDS)


class Edge:
    """What an edge really uses: the newest share that reached it."""

    def __init__(self):
        self.version, self.share = 0, NOTHING
        self.inbox: list[Offer] = []


class SharesMachine(RuleBasedStateMachine):
    """Edges that get offers late or never, acknowledgements that are lost, deaths, and routers that forget."""

    LIMITS = Limits(slots=12, requests_per_minute=100, tokens_per_minute=1000)

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.limit = whole(self.LIMITS)
        self.book = Book(limit=self.limit)
        self.edges: dict[str, Edge] = {}
        self.number = 0
        self.random = random.Random(0)

    def known(self):
        return sorted(self.edges)

    @rule()
    def an_edge_starts(self):
        if len(self.edges) < 5:
            self.number += 1
            name = f"s{self.number}"
            self.edges[name] = Edge()
            self.book.join(name, None, self.now)

    @precondition(lambda self: self.edges)
    @rule(data=st.data(), slots=st.integers(0, 40), rate=st.integers(0, 300))
    def wants(self, data, slots, rate):
        name = data.draw(st.sampled_from(self.known()))
        self.book.want(name, Demand(slots, rate, rate * 10))

    @rule()
    def rebalance(self):
        for name, offer in self.book.rebalance(self.now).items():
            if name in self.edges:
                self.edges[name].inbox.append(offer)

    @precondition(lambda self: self.edges)
    @rule(data=st.data())
    def an_offer_arrives(self, data):
        edge = self.edges[data.draw(st.sampled_from(self.known()))]
        if edge.inbox:
            offer = edge.inbox.pop(0)
            edge.version, edge.share = offer.version, offer.share

    @precondition(lambda self: self.edges)
    @rule(data=st.data())
    def an_acknowledgement_arrives(self, data):
        name = data.draw(st.sampled_from(self.known()))
        self.book.acknowledge(name, self.edges[name].version)

    @precondition(lambda self: self.edges)
    @rule(data=st.data())
    def an_edge_reconnects(self, data):
        """It declares what it obeys; offers on the way are lost."""
        name = data.draw(st.sampled_from(self.known()))
        edge = self.edges[name]
        edge.inbox.clear()
        self.book.join(name, Offer(edge.version, edge.share) if edge.version else None, self.now)
        newest = self.book.holdings[name].newest()
        if newest.version > edge.version:
            edge.inbox.append(newest)  # The snapshot.

    @precondition(lambda self: self.edges)
    @rule(data=st.data())
    def an_edge_dies_and_is_noticed(self, data):
        name = data.draw(st.sampled_from(self.known()))
        del self.edges[name]
        self.book.leave(name)

    @rule(complete=st.booleans())
    def the_router_forgets(self, complete):
        """All edges that live reconnect within the 30 s; before, nothing new is lent."""
        self.book = Book(limit=self.limit, learning_until=self.now + 30.0)
        names = self.known()
        for name in names if complete else names[::2]:
            self.an_edge_redeclares(name)
        self.rebalance()
        for name in names:
            self.an_edge_redeclares(name)
        self.now += 30.0

    def an_edge_redeclares(self, name):
        edge = self.edges[name]
        edge.inbox.clear()
        self.book.join(name, Offer(edge.version, edge.share) if edge.version else None, self.now)

    @invariant()
    def what_edges_use_never_exceeds_the_limit(self):
        for field in FIELDS:
            used = sum(getattr(edge.share, field) for edge in self.edges.values())
            assert used <= getattr(self.limit, field), field

    @invariant()
    def what_is_counted_covers_what_is_used(self):
        for name, edge in self.edges.items():
            counted = self.book.holdings[name].counted()
            for field, part in zip(FIELDS, counted, strict=True):
                assert getattr(edge.share, field) <= part, (name, field)


TestSharesMachine = SharesMachine.TestCase
TestSharesMachine.settings = settings(max_examples=examples(30), stateful_step_count=50, deadline=None)
