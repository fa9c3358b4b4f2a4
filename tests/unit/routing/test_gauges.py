"""How fast we may go by what an upstream tells of its limits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_routing import Hints, Traits
from penstock_routing.gauges import LIGHT_RESERVE, RESERVE, Gauge, Gauges
from tests.effort import examples


def gauge(limit=100_000, left=50_000, reset=30.0):
    found = Gauge()
    found.heard(limit, left, reset, 0.0, 0.0)
    return found


def wait(gauges, tokens, fresh, output, now, *, at_home=True):
    traits = Traits(model="m", estimated_tokens=tokens, estimated_output=output)
    return gauges.wait(traits, fresh, now, at_home=at_home)


class TestGauge:
    def test_it_refills(self):
        found = gauge()
        assert found.left(0.0) == 50_000
        assert found.left(6.0) == pytest.approx(60_000)
        assert found.left(600.0) == 100_000

    def test_what_we_send_goes_out(self):
        found = gauge()
        found.take(20_000, 0.0)
        assert found.left(0.0) == 30_000

    def test_the_wait_ends_when_it_says(self):
        found = gauge(left=0)
        wait = found.wait(1_000, 0.0, RESERVE, at_home=True)
        assert wait == pytest.approx(60 * 0.16)
        assert found.wait(1_000, wait, RESERVE, at_home=True) == 0.0

    def test_a_cold_prompt_leaves_more_than_one_at_home(self):
        found = gauge(left=20_000)
        assert found.wait(4_000, 0.0, RESERVE, at_home=True) == 0.0
        assert found.wait(4_000, 0.0, RESERVE) > 0.0
        assert found.wait(400, 0.0, RESERVE) == 0.0

    def test_who_has_been_given_little_finds_room_longer(self):
        found = gauge(left=10_000)
        assert found.wait(100, 0.0, RESERVE) > 0.0
        assert found.wait(100, 0.0, LIGHT_RESERVE) == 0.0

    def test_what_is_larger_than_the_limit_goes_when_it_is_full(self):
        assert gauge(left=100_000).wait(1e6, 0.0, RESERVE) == 0.0

    @pytest.mark.parametrize(
        ("limit", "left", "reset", "per_second"),
        [
            (4_000, 3_990, 1.0, 4_000 / 60),  # Rounded to seconds: it tells nothing.
            (10_000, 9_000, 8_640.0, 1_000 / 8_640),  # By the day.
            (60_000, 30_000, 30.0, 1_000),
            (60_000, 30_000, 31.0, 1_000),
            (60_000, 60_000, 0.0, 1_000),
        ],
    )
    def test_how_fast_it_refills(self, limit, left, reset, per_second):
        assert gauge(limit, left, reset).rate == pytest.approx(per_second)

    def test_what_open_requests_will_still_use_is_gone(self):
        found = Gauge()
        found.heard(1_000, 500, 30.0, 0.0, 200.0)
        assert found.left(0.0) == 300

    def test_nonsense_is_ignored(self):
        found = gauge()
        found.heard(0, 5, 1.0, 0.0, 0.0)
        found.heard(5, -1, 1.0, 0.0, 0.0)
        assert found.limit == 100_000


@given(
    requests=st.lists(st.tuples(st.floats(0.0, 2.0), st.floats(1.0, 3_000.0)), min_size=1, max_size=200),
    left=st.integers(0, 100_000),
)
@settings(max_examples=examples(60), deadline=None)
def test_a_paced_upstream_never_refuses(requests, left):
    """Against a bucket as providers run them, whoever waits as long as the gauge says is never refused."""
    real, now = float(left), 0.0
    found = gauge(left=left)
    for gap, cost in requests:
        wait = gap + found.wait(cost, now + gap, LIGHT_RESERVE)
        now += wait
        real = min(real + wait * 100_000 / 60, 100_000.0)
        assert found.wait(cost, now, LIGHT_RESERVE) <= 1e-3
        assert real >= cost
        real -= cost
        found.take(cost, now)


class TestGauges:
    def heard(self, **more):
        found = Gauges()
        found.heard(Hints(**more), 0.0, 0.0)
        return found

    def test_the_tighter_of_both_is_not_counted_twice(self):
        found = self.heard(
            tokens_limit=100, tokens_remaining=0, input_limit=100_000, input_remaining=90_000, input_reset_ms=6_000
        )
        assert wait(found, 1_000, 500, 10, 0.0) == 0.0

    @pytest.mark.parametrize("kind", ["requests", "tokens", "input", "output"])
    def test_each_kind_holds_back(self, kind):
        found = self.heard(**{f"{kind}_limit": 1_000, f"{kind}_remaining": 0, f"{kind}_reset_ms": 60_000})
        assert wait(found, 2, 1, 1, 0.0) > 0.0
        assert wait(found, 2, 1, 1, 30.0) == 0.0
        assert Gauges().wait(Traits(model="m"), 1, 0.0) == 0.0

    def test_a_request_that_did_not_go_is_taken_back(self):
        found = self.heard(input_limit=1_000, input_remaining=500, input_reset_ms=30_000)
        found.take(1.0, 100, 100, 0, 0.0)
        found.take(-1.0, 100, 100, 0, 0.0)
        assert found.gauges[2].left(0.0) == 500

    def test_a_refusal_for_its_size_stops_what_is_as_large_only(self):
        found = self.heard(input_limit=100_000, input_remaining=20_000, input_reset_ms=48_000)
        found.refused(30_000, 30_000, 10, 12.0, 0.0)
        assert wait(found, 30_000, 30_000, 10, 0.0) >= 12.0
        assert wait(found, 100, 100, 10, 0.0) == 0.0
        assert found.smooth is None

    def test_a_refusal_that_nothing_explains_slows_everything(self):
        found = self.heard(requests_limit=600, requests_remaining=590, requests_reset_ms=1_000)
        found.refused(100, 100, 10, 1.0, 0.0)
        assert wait(found, 1, 1, 1, 0.5) >= 0.5
        now, sent = 1.0, 0
        while now < 11.0:
            if wait(found, 1, 1, 1, now) == 0.0:
                found.take(1.0, 1, 1, 1, now)
                sent += 1
            now += 0.001
        assert 90 <= sent <= 110

    def test_scarcity(self):
        found = self.heard(input_limit=1_000, input_remaining=250, input_reset_ms=45_000)
        assert found.scarcity(0.5, 0.0) == pytest.approx(0.5)
        assert found.scarcity(0.2, 0.0) == 1.0
