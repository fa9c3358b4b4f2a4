"""Reads the one text in a custom tool's input, `{"input": "…"}`, as it comes in piece by piece."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from penstock_edge.providers.odd_json import decoded

_NAME: Final = '"input"'
_SPACE: Final = " \t\r\n"
# What an escape may take at most: two of six characters each (a surrogate pair) make one character.
_LONGEST_ESCAPE: Final = 12
_NOT_YET: Final = -1
_NEVER: Final = -2


def whole_input(arguments: str) -> str:
    """Return the text in a whole input; one that is not as it was asked for is taken as it is."""
    try:
        given: Any = decoded(arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return arguments
    if isinstance(given, str):
        return given
    if isinstance(given, dict):
        text = given.get("input") if "input" in given or len(given) != 1 else next(iter(given.values()))
        if isinstance(text, str):
            return text
    return arguments if given else ""


class PartialInput:
    """What of the text can be told so far. Whatever it does not understand it leaves for the end."""

    __slots__ = ("_begun", "_over", "_text")

    def __init__(self) -> None:
        self._text = ""
        """What has come in and was not told."""
        self._begun = False
        self._over = False

    def feed(self, partial_json: str) -> str:
        """Return what more of the text is known."""
        if self._over:
            return ""
        self._text += partial_json
        if not self._begun:
            begin = _beginning(self._text)
            if begin < 0:
                self._over = begin == _NEVER
                return ""
            self._begun = True
            self._text = self._text[begin:]
        end, self._over = _tellable(self._text)
        piece, self._text = self._text[:end], self._text[end:]
        try:
            return msgspec.json.decode(f'"{piece}"', type=str) if piece else ""
        except (msgspec.DecodeError, UnicodeError):
            self._over = True
            return ""


def _beginning(text: str) -> int:
    """Return where the text begins; _NOT_YET when that is not known, _NEVER when something else stands there."""
    at = 0
    for expected in ("{", _NAME, ":", '"'):
        while at < len(text) and text[at] in _SPACE:
            at += 1
        here = text[at : at + len(expected)]
        if here != expected:
            return _NOT_YET if expected.startswith(here) else _NEVER
        at += len(expected)
    return at


def _tellable(text: str) -> tuple[int, bool]:
    """Return up to where the text can be told, and whether it ends there."""
    at = 0
    while True:
        quote = text.find('"', at)
        escape = text.find("\\", at, quote if quote >= 0 else len(text))
        if escape < 0:
            return (quote, True) if quote >= 0 else (len(text), False)
        end = _past_escape(text, escape)
        if end < 0:
            return escape, False
        at = end


def _past_escape(text: str, at: int) -> int:
    """Return what follows an escape; _NOT_YET when it is not whole."""
    if text[at + 1 : at + 2] != "u":
        return at + 2 if at + 2 <= len(text) else _NOT_YET
    if at + 6 > len(text):
        return _NOT_YET
    if text[at + 2 : at + 4].lower() not in {"d8", "d9", "da", "db"}:
        return at + 6
    # The first half of a pair: the other must be there too.
    return at + _LONGEST_ESCAPE if at + _LONGEST_ESCAPE <= len(text) else _NOT_YET
