"""What should meet the same account again."""

from __future__ import annotations

from penstock_edge.affinity import affinity_key

LONG = b'"' + b"x" * 5000 + b'"'


def key(project="p", session="", prefix=(b"", b"", b""), *, cache_control=False):
    return affinity_key(project, session, prefix, cache_control=cache_control)


def test_a_session_is_enough():
    assert key(session="s") == key(session="s", prefix=(b"a", b"b", LONG), cache_control=True)
    assert key(session="s") != key(session="t")
    assert key(session="s") != key("q", "s")


def test_a_cacheable_prefix_is_enough():
    assert key(prefix=(b"", LONG, b"1")) == key(prefix=(b"", LONG, b"1"))
    assert key(prefix=(b"", LONG, b"1")) != key(prefix=(b"", LONG, b"2"))
    assert key(prefix=(b"", LONG, b"1")) != key("q", prefix=(b"", LONG, b"1"))
    assert key(prefix=(b"a", b"", b""), cache_control=True) is not None
    assert key(prefix=(b"a", b"", b""), cache_control=True) != key(prefix=(b"", b"a", b""), cache_control=True)


def test_a_short_request_has_none():
    assert key(prefix=(b"", b"", b"short")) is None
