"""The text of a custom tool's input, piece by piece."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.dialects.openai_responses.partial_input import PartialInput, whole_input

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def pieces(text, cuts):
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[begin:end] for begin, end in pairwise(bounds)]


@given(TEXTS, st.booleans(), st.sampled_from([None, 1]), st.lists(st.integers(0, 200)))
def test_any_text_comes_out_however_it_is_cut(text, ascii_only, indent, cuts):
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only, indent=indent)
    partial = PartialInput()
    assert "".join(partial.feed(piece) for piece in pieces(arguments, cuts)) == text
    assert whole_input(arguments) == text


def test_text_is_told_as_soon_as_it_is_known():
    partial = PartialInput()
    told = [partial.feed(piece) for piece in ['{"in', 'put": "a', "b\\", "n\\u00", "e9\\ud83d", '\\ude00c", "x": 1}']]
    assert told == ["", "a", "b", "\n", "é", "😀c"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input":"a"}', "a"),
        ('{"patch":"a"}', "a"),
        ('{"patch":"a","input":"b"}', "b"),
        ('{"a":"b","c":"d"}', '{"a":"b","c":"d"}'),
        ('{"input":5}', '{"input":5}'),
        ('"a"', "a"),
        ("{}", ""),
        ("", ""),
        ("*** Begin Patch", "*** Begin Patch"),
        (r'{"input":"a\ud83d"}', "a\ufffd"),
        (r'{"input":"a\ud83db\ude00", "x": NaN}', "a\ufffdb\ufffd"),
    ],
)
def test_whatever_a_model_makes_of_it(arguments, text):
    assert whole_input(arguments) == text
    assert text.startswith(PartialInput().feed(arguments))


@given(st.lists(st.sampled_from(['{"input":"', "\\", "u", "d83d", '"', "}", "a", "{", "\n", "é"])))
def test_nothing_confuses_it(parts):
    partial = PartialInput()
    for part in parts:
        partial.feed(part)
    whole_input("".join(parts))
