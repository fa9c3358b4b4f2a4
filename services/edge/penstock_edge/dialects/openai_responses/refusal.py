"""How the readers of this format say what is wrong with a field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from penstock_edge.errors import ProblemError, invalid

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

T = TypeVar("T")

_NAMES = {str: "a valid string", dict: "a valid dictionary", list: "a valid list", bool: "a valid boolean"}


def refused(where: str, words: str) -> ProblemError:
    """Return the refusal (400) of a field."""
    return ProblemError(invalid(f"{where}: {words}"))


def uncarriable(where: str, what: str) -> ProblemError:
    """Return the refusal (400) of something that has no counterpart at this model's provider."""
    return refused(where, f"{what} cannot be carried to this model")


def required(item: Json, name: str, kind: type[T], where: str) -> T:
    """Return a field that must be there. Raises ProblemError."""
    value = item.get(name)
    if isinstance(value, kind):
        return value
    raise refused(f"{where}.{name}" if where else name, "field required" if value is None else wrong(kind))


def optional(item: Json, name: str, kind: type[T], where: str = "") -> T | None:
    """Return a field that may be absent or null. Raises ProblemError when it is of another type."""
    value = item.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise refused(f"{where}.{name}" if where else name, wrong(kind))


def whole_number(item: Json, name: str) -> int | None:
    """Return an integer field that may be absent or null. Raises ProblemError."""
    value = item.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise refused(name, "Input should be a valid integer")


def number(item: Json, name: str) -> float | None:
    """Return a number field that may be absent or null. Raises ProblemError."""
    value = item.get(name)
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    raise refused(name, "Input should be a valid number")


def dictionary(value: Any, where: str) -> Json:
    """Return a value that must be an object. Raises ProblemError."""
    if isinstance(value, dict):
        return value
    raise refused(where, wrong(dict))


def wrong(kind: type) -> str:
    """Say which type a value should have."""
    return f"Input should be {_NAMES.get(kind, kind.__name__)}"
