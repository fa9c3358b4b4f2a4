"""Texts that stand for no value are refused, and what they hold is repeated nowhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta

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


@pytest.mark.parametrize("kind", [float, Annotated[float, Meta(gt=0)], Annotated[float, Meta(ge=0)] | None])
@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999"])
def test_a_number_of_which_no_clock_can_make_anything_is_refused(text: str, kind: type) -> None:
    with pytest.raises(UnfitError):
        value(text, kind)


@pytest.mark.parametrize("kind", [int, float, bool, str, Secret, Literal["a"], tuple[Path, ...], str | None])
def test_bytes_that_are_no_utf_8_are_refused_in_words(kind: type) -> None:
    for text in (os.fsdecode(b"7301\xff"), os.fsdecode(b'["7301\xff"]')):
        with pytest.raises(UnfitError) as refused:
            value(text, kind)
        assert "7301" not in str(refused.value)


@pytest.mark.parametrize("kind", [Path, Path | None])
def test_names_of_files_may_be_any_bytes(kind: type) -> None:
    name = os.fsdecode(b"/tmp/\xff")
    assert value(name, kind) == Path(name)
