"""The state of an epoch."""

from __future__ import annotations

import pytest

from penstock_auth.recovery import GRACE_MS, REMEMBER_MS, SILENCE_MS, Epoch, Status


@pytest.fixture
def epoch():
    made = Epoch("e1", 1000)
    made.expect(["old-a", "old-b"])
    return made


def test_nobody_is_trusted_before_it_is_known_who_was_there():
    epoch = Epoch("e1", 1000)
    assert epoch.touch("s", 1000) is Status.MUST
    assert epoch.recovering(10**9)
    assert epoch.full_at_ms(10**9) == 0
    epoch.expect([])
    assert epoch.status("s") is Status.FRESH
    assert not epoch.recovering(1000)


def test_the_first_to_name_the_recorded_sessions_is_believed(epoch):
    epoch.expect(["other"])
    assert epoch.expected == {"old-a", "old-b"}


def test_recorded_sessions_are_waited_for_until_all_have_spoken(epoch):
    assert epoch.touch("old-a", 1001) is Status.MUST
    assert epoch.touch("new", 1001) is Status.FRESH
    epoch.declare("old-a", 1002)
    assert epoch.missing() == {"old-b"}
    assert epoch.recovering(1003)
    epoch.end("old-b", 1004)
    assert not epoch.recovering(1005)
    assert epoch.state(1005).lost == frozenset()


def test_the_wait_ends_and_who_never_spoke_is_lost(epoch):
    epoch.declare("old-a", 1002)
    epoch.touch("old-b", 2000)
    last = 1000 + GRACE_MS
    assert epoch.recovering(last - 1)
    assert epoch.full_at_ms(last - 1) == 0
    assert not epoch.recovering(last)
    assert epoch.full_at_ms(last + 99) == last
    epoch.drop_silent(last + SILENCE_MS)
    assert epoch.state(last + SILENCE_MS).lost == {"old-b"}


def test_silence_drops_and_a_return_must_declare(epoch):
    epoch.declare("old-a", 1000)
    epoch.drop_silent(1000 + SILENCE_MS - 1)
    assert epoch.live() == ["old-a"]
    epoch.drop_silent(1000 + SILENCE_MS)
    assert (epoch.live(), epoch.gone()) == ([], ["old-a"])
    assert epoch.touch("old-a", 40_000) is Status.MUST
    assert epoch.spoke("old-a")
    assert not epoch.absent("old-a")


def test_an_ended_session_stays_ended_for_a_while(epoch):
    epoch.end("old-a", 1000)
    assert epoch.touch("old-a", 1001) is Status.ENDED
    epoch.declare("old-a", 1002)
    assert epoch.status("old-a") is Status.ENDED
    epoch.drop_silent(1000 + REMEMBER_MS)
    assert epoch.status("old-a") is None
    assert "old-a" not in epoch.missing()
