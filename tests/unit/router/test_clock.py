"""The router's time follows the store's and never goes back, nor stands still."""

from __future__ import annotations

from penstock_router.clock import StoreClock


def test_follows_and_goes_slower_rather_than_back():
    monotonic = [10.0]
    clock = StoreClock(lambda: monotonic[0], lambda: 1000.0)
    assert clock.now() == 1000.0
    monotonic[0] = 11.0
    assert clock.now() == 1001.0
    clock.adjust(1100.0)
    assert clock.now() == 1100.0
    clock.adjust(1050.0)
    assert clock.now() == 1100.0
    monotonic[0] = 40.0
    assert clock.now() == 1114.5
    monotonic[0] = 111.0
    assert clock.now() == 1150.0
    monotonic[0] = 112.0
    assert clock.now() == 1151.0
