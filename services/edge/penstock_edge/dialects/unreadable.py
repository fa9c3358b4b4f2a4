"""What is wrong with a request body, said without quoting any of it."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from penstock_edge.errors import ProblemError, invalid

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""All that a msgspec decoder may raise."""

_MISSING: Final = re.compile(r"Object missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_EXPECTED: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_INDEX: Final = re.compile(r"\[(\d+|\.\.\.)\]")
_TYPES: Final = {
    "str": "a valid string",
    "int": "a valid integer",
    "float": "a valid number",
    "bool": "a valid boolean",
    "array": "a valid list",
    "object": "a valid dictionary",
}


def unreadable(error: Exception) -> ProblemError:
    """Return the refusal (400) of a body that a decoder could not read."""
    return ProblemError(invalid(_explain(error)))


def wrong(where: str, what: str) -> ProblemError:
    """Return the refusal (400) of one field."""
    return ProblemError(invalid(f"{where}: {what}"))


def wrong_type(where: str, wanted: str) -> ProblemError:
    """Return the refusal (400) of a field that is no `str`, `int`, `float`, `bool`, `array` or `object`."""
    return wrong(where, f"Input should be {_TYPES[wanted]}")


def within(where: str, refusal: ProblemError) -> ProblemError:
    """Return the refusal of a field of something that stands at `where`.

    So nobody has to know where he reads as long as nothing is wrong there.
    """
    field, colon, what = refusal.problem.message.partition(": ")
    return wrong(f"{where}.{field}" if field else where, what) if colon else refusal


def _explain(error: Exception) -> str:
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        if match := _MISSING.match(text):
            where = ".".join(part for part in (match[2], match[1]) if part)
            return f"{_dotted(where)}: field required"
        if match := _EXPECTED.match(text):
            wanted = match[1].split(" | ")[0]
            return f"{_dotted(match[3]) or 'body'}: Input should be {_TYPES.get(wanted, wanted)}"
        return "the request body has a field of a wrong type"
    if isinstance(error, RecursionError):
        return "the request body is nested too deeply"
    return "the request body is not valid JSON"


def _dotted(path: str | None) -> str:
    """Return `messages.3.role` for `messages[3].role`."""
    return _INDEX.sub(r".\1", path) if path else ""
