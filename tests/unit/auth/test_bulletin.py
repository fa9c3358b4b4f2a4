from __future__ import annotations

import pytest

from penstock_auth.bulletin import MOST, Posted, unheard
from penstock_auth.changes import Change, ChangeKind


def posted(*numbers: int) -> list[Posted]:
    return [Posted(number, Change(ChangeKind.PROJECT, f"p{number}")) for number in numbers]


FULL = posted(*range(1000, 1000 + MOST))


@pytest.mark.parametrize(
    ("there", "known", "last", "told"),
    [
        ([], set(), 0, []),
        (posted(1, 2), set(), 0, posted(1, 2)),
        # One that was committed late, beside those that were read.
        (posted(7, 8, 9), {7, 9}, 9, posted(8)),
        # What was read long ago, and is in nobody's memory any more, is not news.
        (posted(10, 9 + MOST, 11 + MOST), {9 + MOST}, 10 + MOST, posted(11 + MOST)),
        (FULL, {1000}, 1000, FULL[1:]),
        (FULL, set(), 1000, FULL),
        (FULL, set(), 999, [Posted(FULL[-1].number, Change(ChangeKind.EVERYTHING))]),
        (FULL[1:], set(), 999, FULL[1:]),
    ],
)
def test_what_is_news_to_a_reader(there, known, last, told):
    assert unheard(there, known, last) == told
