"""Headers as they came: found whatever the case of their names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.upstream.fields import Names, first, pairs

FIELDS = [
    b"Content-Type",
    b"a/b",
    b"X-A",
    b"1",
    b"x-a",
    b"2",
    b"CONTENT-ENCODING",
    b"gzip",
    b"",
    b"none",
    b"x" * 200,
    b"3",
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"content-type", b"a/b"),
        (b"x-a", b"1"),
        (b"content-encoding", b"gzip"),
        (b"content-encodinG", None),
        (b"x-b", None),
        (b"x" * 200, b"3"),
    ],
)
def test_the_first_of_a_name_is_found_in_any_case(name, value):
    assert first(FIELDS, name) == value


def test_of_an_answer_without_headers_nothing_is_found():
    assert (first([], b"x"), pairs([]), Names(b"x").among([])) == (None, [], [])


def test_some_names_are_found_in_order_each_time_they_come():
    assert Names(b"x-a", b"content-type", b"x-b").among(FIELDS) == [
        (b"content-type", b"a/b"),
        (b"x-a", b"1"),
        (b"x-a", b"2"),
    ]


def test_a_name_that_no_answer_has_is_refused_when_it_is_too_long():
    with pytest.raises(ValueError, match="too long"):
        Names(b"x" * 61)


_letters = st.text("aAbB-", max_size=3).map(str.encode)


@given(st.lists(st.tuples(_letters, _letters), max_size=8), st.sets(_letters.map(bytes.lower), max_size=4))
def test_what_is_found_is_what_reading_all_of_them_finds(headers, names):
    fields = [part for header in headers for part in header]
    whole = pairs(fields)
    assert whole == [(name.lower(), value) for name, value in headers]
    assert Names(*names).among(fields) == [pair for pair in whole if pair[0] in names]
    for name in names:
        assert first(fields, name) == dict(reversed(whole)).get(name)
