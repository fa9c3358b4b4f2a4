"""The timers of one connection, on a clock of the tests."""

from __future__ import annotations

import heapq
import itertools

import pytest

from penstock_edge.client_timers import HEAD_SECONDS, ClientTimers


class Clock:
    """What the timers need of a loop."""

    def __init__(self):
        self.now = 100.0
        self.made = 0
        self._timers = []
        self._number = itertools.count()

    def time(self):
        return self.now

    def call_at(self, when, call, *arguments):
        self.made += 1
        timer = Timer(call, arguments)
        heapq.heappush(self._timers, (when, next(self._number), timer))
        return timer

    def call_later(self, seconds, call, *arguments):
        return self.call_at(self.now + seconds, call, *arguments)

    def go_to(self, now):
        while self._timers and self._timers[0][0] <= now:
            self.now, _, timer = heapq.heappop(self._timers)
            timer.ring()
        self.now = now


class Timer:
    def __init__(self, call, arguments):
        self._call = call
        self._arguments = arguments
        self._cancelled = False

    def cancel(self):
        self._cancelled = True

    def ring(self):
        if not self._cancelled:
            self._call(*self._arguments)


class Transport:
    closed_at = None

    def __init__(self, clock):
        self._clock = clock

    def is_closing(self):
        return self.closed_at is not None

    def close(self):
        self.closed_at = self._clock.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def transport(clock):
    return Transport(clock)


@pytest.fixture
def timers(clock, transport):
    return ClientTimers(clock, transport, keep_alive_seconds=10.0, soon_seconds=1.0)


class Late:
    """Notes when something was late."""

    def __init__(self, clock):
        self._clock = clock
        self.at = []

    def __call__(self):
        self.at.append(self._clock.now)


@pytest.fixture
def late(clock):
    return Late(clock)


def test_a_head_has_its_time_from_its_first_byte_on(timers, clock, late):
    timers.await_head(late)
    clock.go_to(110.0)
    timers.await_head(late)
    clock.go_to(100.0 + HEAD_SECONDS)
    assert late.at == [100.0 + HEAD_SECONDS]


def test_a_head_that_is_there_is_waited_for_no_longer(timers, clock, late):
    timers.await_head(late)
    timers.head_over()
    clock.go_to(200.0)
    assert late.at == []


def test_each_body_has_its_own_time(timers, clock, late):
    for second in range(100, 103):
        clock.go_to(second + 0.0)
        timers.await_body(late)
        assert timers.awaits_body
        clock.go_to(second + 0.7)
        timers.body_over()
        assert not timers.awaits_body
    clock.go_to(102.9)
    timers.await_body(late)
    clock.go_to(110.0)
    assert late.at == [pytest.approx(103.9)]


def test_a_thousand_bodies_in_a_moment_cost_one_timer(timers, clock, late):
    for _ in range(1000):
        timers.await_body(late)
        timers.body_over()
    assert clock.made == 1


def test_a_connection_closes_when_no_request_comes(timers, clock, transport):
    timers.await_request()
    clock.go_to(105.0)
    timers.request_begun()
    clock.go_to(120.0)
    assert transport.closed_at is None
    timers.await_request()
    clock.go_to(125.0)
    timers.request_begun()
    timers.await_request()
    clock.go_to(150.0)
    assert transport.closed_at == 135.0


def test_what_is_over_rings_no_more(timers, clock, transport, late):
    timers.await_head(late)
    timers.await_body(late)
    timers.await_request()
    timers.stop()
    clock.go_to(200.0)
    assert late.at == []
    assert transport.closed_at is None
