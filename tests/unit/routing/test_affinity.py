"""What should meet the same account again."""

from __future__ import annotations

from penstock_routing.affinity import affinity_key

LONG = b'"' + b"x" * 5000 + b'"'


def key(project="p", session="", prefix=(b"", b"", b""), *, cache_control=False):
    body = b"{" + b",".join(prefix) + (b',"cache_control":{}' if cache_control else b"") + b"}"
    return affinity_key(project, session, prefix, body)


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


def test_beginning_end_and_length_of_a_long_part_count():
    long = b"a" * 10_000
    assert key(prefix=(b"", long, b"")) == key(prefix=(b"", bytearray(long), b""))
    for other in (b"b" + long[1:], long[:-1] + b"b", long + b"a"):
        assert key(prefix=(b"", long, b"")) != key(prefix=(b"", other, b""))


def test_short_parts_count_whole():
    for length in (2047, 2048, 2049, 4095, 4096):
        part = bytes(range(256)) * 16 + b"x"
        part = part[:length]
        for at in (0, length // 2, length - 1):
            other = part[:at] + b"?" + part[at + 1 :]
            marked = {"cache_control": True}
            assert other == part or key(prefix=(b"", part, b""), **marked) != key(prefix=(b"", other, b""), **marked)


def test_a_short_request_has_none():
    assert key(prefix=(b"", b"", b"short")) is None
