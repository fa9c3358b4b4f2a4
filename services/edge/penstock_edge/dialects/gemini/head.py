"""The head of a Gemini request: what the gateway must know before it decodes the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.dialects.dialect import Head
from penstock_edge.dialects.gemini.fields import Body, Number, read_body, read_count
from penstock_edge.dialects.unreadable import UNREADABLE, unreadable
from penstock_edge.errors import ProblemError, invalid

if TYPE_CHECKING:
    from penstock_routing.affinity import Part

_MOST_TOKENS: Final = 1_000_000_000


# With an `__init__` of its own as the one that it inherits from.
@dataclass(slots=True, init=False)
class GeminiHead(Head):
    """A request's head; model and method stood in its path, `alt=sse` in its query."""

    sse: bool
    """A streamed answer is to be server-sent events rather than one JSON array."""
    counting: bool
    """It is a countTokens request."""

    def __init__(
        self,
        model: str,
        stream: bool,
        max_tokens: int,
        session: str,
        prefix: tuple[Part, ...],
        *,
        sse: bool = True,
        counting: bool = False,
    ) -> None:
        Head.__init__(self, model, stream, max_tokens, session, prefix)
        self.sse = sse
        self.counting = counting


def read_head(body: bytes, model: str, *, streamed: bool, counting: bool, sse: bool) -> GeminiHead:
    """Read a request's head. Raises ProblemError (400)."""
    try:
        if counting:
            outer = read_count(body)
            request: Body = outer.whole or outer.whole_snake or outer
        else:
            request = read_body(body)
    except UNREADABLE as error:
        if str(error).endswith("at `$.contents`"):
            # That a single one is taken too is nothing to recommend.
            raise ProblemError(invalid("contents: Input should be a valid list")) from None
        raise unreadable(error) from None
    if request.contents is None:
        raise ProblemError(invalid("contents: field required"))
    if not model:
        raise ProblemError(invalid("model: String should have at least 1 character"))
    config = request.config or request.config_snake
    return GeminiHead(
        model=model,
        stream=streamed,
        max_tokens=0 if config is None else _tokens(config.camel if config.camel is not None else config.snake),
        session="",
        prefix=(
            request.tools,
            request.system if len(request.system) else request.system_snake,
            _first(request.contents),
        ),
        sse=sse,
        counting=counting,
    )


def _first(contents: list[msgspec.Raw] | dict[str, msgspec.Raw]) -> Part:
    if isinstance(contents, dict):
        return msgspec.json.encode(contents)
    return contents[0] if contents else b""


def _tokens(value: Number) -> int:
    """Return a sane figure, 0 for none: Google takes `5`, `5.0` and `"5"`, and judges the rest itself."""
    if value is None:
        return 0
    try:
        return min(max(0, int(value)), _MOST_TOKENS)
    except (ValueError, OverflowError):
        raise ProblemError(invalid("generationConfig.maxOutputTokens: Input should be a valid integer")) from None
