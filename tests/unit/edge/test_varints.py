from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.auth.v1 import auth_pb2
from penstock_edge.varints import Moments, delimited, filled, tag, text, varint

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
ADMITTED_AT = tag(auth_pb2.Settlement, "admitted_at_ms")


@given(INT64)
@example(0)
@example(127)
@example(128)
@example(16383)
@example(16384)
@example(-1)
@example((1 << 63) - 1)
@example(-(1 << 63))
def test_numbers_are_written_as_protobuf_writes_them(number):
    assert filled(ADMITTED_AT, number) == auth_pb2.Settlement(admitted_at_ms=number).SerializeToString()


@given(st.lists(INT64 | st.integers((1 << 35) - 20_000, (1 << 35) + 20_000) | st.integers(1 << 40, (1 << 40) + 40_000)))
@example([1 << 48, (1 << 48) - 1, (1 << 35) - 1, 1 << 35, -1])
def test_times_are_written_like_any_number(numbers):
    moments = Moments()
    assert [moments.varint(number) for number in numbers] == [varint(number) for number in numbers]


@pytest.mark.parametrize("number", [1 << 63, 1 << 64, -(1 << 63) - 1])
def test_what_64_bits_do_not_hold_is_refused(number):
    with pytest.raises(ValueError, match="64 bits"):
        varint(number)
    with pytest.raises(ValueError, match="64 bits"):
        Moments().varint(number)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_texts_and_messages_say_how_long_they_are(name):
    inner = text(tag(auth_pb2.Attempt, "account"), name)
    outer = auth_pb2.Settlement.FromString(delimited(tag(auth_pb2.Settlement, "attempts"), inner))
    assert [attempt.account for attempt in outer.attempts] == [name]
