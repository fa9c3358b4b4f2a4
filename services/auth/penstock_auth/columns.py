"""A batch seen by its columns: what is asked of one field, or done to it, takes a step for all records together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple, fields

from penstock_auth.stretches import in_stretches

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

Columns = dict[str, tuple[Any, ...]]


class Sheet:
    """Turns records of one kind into columns."""

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        self._names = tuple(field.name for field in fields(kind))
        self._empty: Columns = dict.fromkeys(self._names, ())

    def columns(self, records: Sequence[msgspec.Struct]) -> Columns:
        """Return the values of each field, in the order of the records."""
        if not records:
            return self._empty
        return dict(zip(self._names, zip(*map(astuple, in_stretches(records)), strict=True), strict=True))
