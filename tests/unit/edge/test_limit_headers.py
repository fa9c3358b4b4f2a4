"""Limits in answers: the same lines for a few milliseconds, for each key and dialect its own."""

from __future__ import annotations

import pytest

from penstock_edge import limit_headers
from penstock_edge.dialects.anthropic import DIALECT as ANTHROPIC
from penstock_edge.dialects.openai_chat import DIALECT as OPENAI
from penstock_edge.limit_headers import LimitHeaders
from penstock_edge.limits import LimitState
from penstock_edge.records import Admitted, Need


class Falling:
    """A limit of which less remains each time that somebody asks."""

    def __init__(self, remaining):
        self.remaining = remaining

    def limit_states(self):
        self.remaining -= 1
        return [LimitState("rpm", "Requests", 100, self.remaining, 0, 60_000, "Key")]


@pytest.fixture
def admitted(play):
    return lambda remaining: Admitted(play.key_facts(), 1, Need(), _source=Falling(remaining))


def test_lines_are_shared_for_a_few_milliseconds(admitted):
    clock = [100.0]
    headers, one = LimitHeaders(lambda: clock[0]), admitted(50)
    first = headers.get(OPENAI, b"k", one)
    assert first == (
        b"\r\nx-ratelimit-limit-requests: 100\r\nx-ratelimit-remaining-requests: 49\r\nx-ratelimit-reset-requests: 0ms"
    )
    clock[0] += 0.004
    assert headers.get(OPENAI, b"k", one) == first
    clock[0] += 0.002
    assert b"remaining-requests: 48" in headers.get(OPENAI, b"k", one)


def test_keys_and_dialects_have_their_own(admitted):
    headers, one = LimitHeaders(lambda: 1.0), admitted(50)
    assert b"x-ratelimit-remaining-requests: 49" in headers.get(OPENAI, b"k", one)
    assert b"anthropic-ratelimit-requests-remaining: 48" in headers.get(ANTHROPIC, b"k", one)
    assert b"x-ratelimit-remaining-requests: 9" in headers.get(OPENAI, b"other", admitted(10))
    assert b"x-ratelimit-remaining-requests: 49" in headers.get(OPENAI, b"k", one)


def test_few_are_kept(admitted, monkeypatch):
    monkeypatch.setattr(limit_headers, "_KEYS", 2)
    headers = LimitHeaders(lambda: 1.0)
    for key in (b"a", b"b", b"c", b"d"):
        headers.get(OPENAI, key, admitted(50))
    assert len(headers._known[OPENAI]) == 2
