"""What should meet the same account again."""

from __future__ import annotations

from penstock_routing.affinity import affinity_key

LONG = b'"' + b"x" * 5000 + b'"'


def key(project="p", session="", prefix=(b"", b"", b""), *, cache_control=False):
    body = b"{" + b",".join(map(bytes, prefix)) + (b',"cache_control":{}' if cache_control else b"") + b"}"
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


def test_beginning_middle_end_and_length_of_a_long_part_count():
    long = b"a" * 10_000
    assert key(prefix=(b"", long, b"")) == key(prefix=(b"", bytearray(long), b""))
    assert key(prefix=(b"", long, b"")) == key(prefix=(b"", memoryview(long), b""))
    for other in (b"b" + long[1:], long[:5000] + b"b" + long[5001:], long[:-1] + b"b", long + b"a"):
        assert key(prefix=(b"", long, b"")) != key(prefix=(b"", other, b""))


def test_pieces_of_one_size_between_the_same_instructions_are_told_apart():
    before, after = b"i" * 2_000, b"q" * 2_000
    keys = {key(prefix=(b"", b"", before + bytes([letter]) * 3_000 + after)) for letter in b"abcdefgh"}
    assert len(keys) == 8


def test_short_parts_count_whole():
    for length in (511, 512, 513, 1025, 1535, 1536):
        part = bytes(range(256)) * 6 + b"x"
        part = part[:length]
        for at in (0, length // 2, length - 1):
            other = part[:at] + b"?" + part[at + 1 :]
            marked = {"cache_control": True}
            assert other == part or key(prefix=(b"", part, b""), **marked) != key(prefix=(b"", other, b""), **marked)


def test_what_is_moved_from_one_part_to_the_next_counts():
    assert key(prefix=(LONG, b"ab", b"c")) != key(prefix=(LONG, b"a", b"bc"))
    assert key("p\0p", prefix=(LONG, b"", b"")) != key("p", prefix=(LONG, b"", b"p"))


def test_a_short_request_has_none():
    assert key(prefix=(b"", b"", b"short")) is None
