"""Texts that stand for no value are refused, and what they hold is repeated nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from penstock_chassis.secret import Secret
from penstock_chassis.variables import UnfitError, value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[7301]", tuple[Path, ...]),
        ("[7301]", tuple[Secret, ...]),
        ('["sk-7301 - at $[0]"]', tuple[Literal["a", "b"], ...]),
        ("[7301]", tuple[Literal[1, 2], ...]),
        ("sk-7301", tuple[str, ...]),
        ('{"a":7301}', tuple[int, ...]),
        ("sk-7301", Literal["a", "b"]),
        ("sk-7301", int),
    ],
)
def test_what_a_text_holds_is_not_repeated(text: str, kind: type) -> None:
    with pytest.raises(UnfitError) as refused:
        value(text, kind)
    assert "7301" not in str(refused.value)


def test_lists_are_written_as_json() -> None:
    assert value('["/a", "/b"]', tuple[Path, ...]) == (Path("/a"), Path("/b"))
