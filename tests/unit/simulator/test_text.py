import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.text import passage, piece_count, pieces, seed_of, tokens


@pytest.mark.parametrize(("chars", "expected"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_a_token_is_four_characters_begun(chars, expected):
    assert tokens(chars) == expected


@given(st.sampled_from(["ascii", "unicode"]), st.integers(0, 30_000), st.integers(0, 2**64))
def test_a_passage_is_exactly_as_long_as_asked_and_repeatable(kind, chars, seed):
    text = passage(kind, chars, seed)
    assert len(text) == chars
    assert text == passage(kind, chars, seed)
    assert kind == "unicode" or text.isascii()


def test_unicode_holds_what_breaks_readers():
    assert {"\u2028", "\u2029", "\u0085", "🌊"} <= set(passage("unicode", 400, 0))


@given(st.text(max_size=300), st.integers(1, 50))
def test_pieces_are_the_text(text, count):
    parts = pieces(text, count)
    assert "".join(parts) == text
    assert len(parts) <= count
    assert all(parts)


@pytest.mark.parametrize(("chars", "count"), [(0, 0), (1, 1), (24, 1), (25, 2), (1_000_000, 2_000)])
def test_a_long_text_has_no_more_pieces_than_a_reader_can_bear(chars, count):
    assert piece_count(chars) == count


def test_seeds_depend_on_the_body_and_on_each_number():
    assert seed_of(b"body", 0, 0) == seed_of(b"body", 0, 0)
    assert len({seed_of(b"body", 0, 0), seed_of(b"body", 1, 0), seed_of(b"body", 0, 1), seed_of(b"x", 0, 0)}) == 4
