"""An ordinary endpoint: where it is, what the OpenAPI document says of it, and what it is asked and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from penstock_edge.dialects.dialect import Headers


@dataclass
class Asked:
    """A request without a body, as far as endpoints care."""

    path: str
    """Decoded."""
    headers: Headers
    """Names are in lower case."""
    query_string: bytes
    scheme: str
    rest: str = ""
    """What stands in the path where the route has a name in braces."""

    def header(self, name: bytes) -> list[str]:
        """Return all values of a header."""
        return [value.decode("latin-1") for known, value in self.headers if known == name]

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's fields; the last one of a name counts."""
        return dict(parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True))


@dataclass(slots=True)
class Answer:
    """A whole answer; the length of its body is not among the headers yet."""

    status: int
    body: bytes
    headers: Headers


_ANY_JSON: Final[dict[str, Any]] = {
    "200": {"description": "Successful Response", "content": {"application/json": {"schema": {}}}}
}

Give = Callable[[Asked], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """One path for GET. Of a name in braces at its end there may be anything, with slashes only where it is `deep`."""

    path: str
    give: Give
    summary: str = ""
    description: str = ""
    tag: str = ""
    operation_id: str = ""
    """Without one the OpenAPI document is silent about it."""
    deep: bool = False
    open_to_all: bool = False
    """Whether it needs no key."""
    answers: dict[str, Any] = field(default_factory=lambda: _ANY_JSON)
    """As OpenAPI has them."""

    @property
    def name(self) -> str:
        """What is in braces, "" if nothing is."""
        return self.path.partition("{")[2].removesuffix("}")

    def rest_of(self, path: str) -> str | None:
        """Return what a path has where the name is; None when this is not its route."""
        before = self.path.partition("{")[0]
        rest = path.removeprefix(before)
        if not path.startswith(before) or not (self.deep or (rest and "/" not in rest)):
            return None
        return rest
