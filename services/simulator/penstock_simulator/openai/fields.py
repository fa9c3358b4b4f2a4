"""Reads fields as the real API does: what is missing, of a wrong type or of a wrong value is refused in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_simulator.openai.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from penstock_simulator.refusal import RefusalError

_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_EXPECTED = _NAMES | {list: "an array of objects", float: "a decimal"}


def wrong_type(where: str, expected: str, value: Any) -> RefusalError:
    """Return the refusal of a value of another type."""
    got = _NAMES.get(type(value), "an object")
    return invalid(f"Invalid type for '{where}': expected {expected}, but got {got} instead.", where, "invalid_type")


def wrong_value(where: str, value: Any, allowed: Sequence[str]) -> RefusalError:
    """Return the refusal of a value that is not one of a few."""
    quoted = [f"'{one}'" for one in allowed]
    listed = quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])}, and {quoted[-1]}"
    if len(quoted) == 2:
        listed = " and ".join(quoted)
    return invalid(f"Invalid value: '{value}'. Supported values are: {listed}.", where, "invalid_value")


def missing(where: str) -> RefusalError:
    """Return the refusal of a request that lacks a field."""
    return invalid(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")


def unsupported(where: str, instead: str = "") -> RefusalError:
    """Return the refusal of a field that the model does not know."""
    hint = f" Use '{instead}' instead." if instead else ""
    return invalid(
        f"Unsupported parameter: '{where}' is not supported with this model.{hint}", where, "unsupported_parameter"
    )


def typed(value: Any, kind: type, where: str) -> Any:
    """Return a value that must be of a type; an integer is a decimal, a boolean is no integer."""
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (kind in {int, float} and isinstance(value, bool)):
        raise wrong_type(where, _EXPECTED[kind], value)
    return value


def need(holder: dict[str, Any], name: str, kind: type, at: str = "") -> Any:
    """Return a field that must be there and of a type."""
    where = f"{at}.{name}" if at else name
    if name not in holder:
        raise missing(where)
    return typed(holder[name], kind, where)


def may(holder: dict[str, Any], name: str, kind: type, at: str = "") -> Any:
    """Return a field that may be absent or null (then None) but not of another type."""
    value = holder.get(name)
    return None if value is None else typed(value, kind, f"{at}.{name}" if at else name)


def one_of(holder: dict[str, Any], name: str, allowed: Sequence[str], at: str = "") -> str | None:
    """Return a text that may be absent but must be one of a few."""
    value = may(holder, name, str, at)
    if value is not None and value not in allowed:
        raise wrong_value(f"{at}.{name}" if at else name, value, allowed)
    return None if value is None else str(value)


def only(holder: dict[str, Any], allowed: Iterable[str], at: str) -> None:
    """Refuse other fields."""
    for name in holder:
        if name not in allowed:
            where = f"{at}.{name}" if at else name
            raise invalid(f"Unknown parameter: '{where}'.", where, "unknown_parameter")


def ranged(holder: dict[str, Any], name: str, kind: type, low: float, high: float | None = None, at: str = "") -> Any:
    """Return a number that may be absent but must be within its bounds."""
    value = may(holder, name, kind, at)
    if value is None:
        return None
    where, word = f"{at}.{name}" if at else name, "integer" if kind is int else "decimal"
    if value < low:
        raise invalid(
            f"Invalid '{where}': {word} below minimum value. Expected a value >= {low:g}, but got {value} instead.",
            where,
            f"{word}_below_min_value",
        )
    if high is not None and value > high:
        raise invalid(
            f"Invalid '{where}': {word} above maximum value. Expected a value <= {high:g}, but got {value} instead.",
            where,
            f"{word}_above_max_value",
        )
    return value


def sized(value: str | list[Any] | dict[str, Any], where: str, most: int) -> None:
    """Refuse a text, a list or a map that is too long."""
    if len(value) <= most:
        return
    if isinstance(value, str):
        words = f"string too long. Expected a string with maximum length {most}, but got a string with length"
        raise invalid(f"Invalid '{where}': {words} {len(value)} instead.", where, "string_above_max_length")
    if isinstance(value, list):
        words = f"array too long. Expected an array with maximum length {most}, but got an array with length"
        raise invalid(f"Invalid '{where}': {words} {len(value)} instead.", where, "array_above_max_length")
    words = f"too many properties. Expected an object with at most {most} properties, but got an object with"
    raise invalid(f"Invalid '{where}': {words} {len(value)} properties instead.", where, "object_above_max_properties")


def filled(value: list[Any] | str, where: str) -> None:
    """Refuse an empty list or text."""
    if value:
        return
    word, article = ("string", "a") if isinstance(value, str) else ("array", "an")
    raise invalid(
        f"Invalid '{where}': empty {word}. Expected {article} {word} with minimum length 1, but got an empty {word} "
        "instead.",
        where,
        f"empty_{word}",
    )
