"""Where clients come in: which path speaks which dialect. Everything is there again under /v3/compat."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from penstock_edge.dialects import anthropic, gemini, openai_chat, openai_embeddings, openai_responses
from penstock_edge.routes.inference import Door
from penstock_routing import outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from penstock_edge.dialects.dialect import Dialect

COMPAT: Final = "/v3/compat"

_MESSAGES: Final = Door(anthropic.DIALECT, anthropic.DIALECT.head)
_COUNT: Final = Door(anthropic.DIALECT, anthropic.DIALECT.count_head, outcomes.COUNT_TOKENS)
_CHAT: Final = Door(openai_chat.DIALECT, openai_chat.DIALECT.head)
_RESPONSES: Final = Door(openai_responses.DIALECT, openai_responses.DIALECT.head)
_EMBEDDINGS: Final = Door(openai_embeddings.DIALECT, openai_embeddings.DIALECT.head)

_PLACES: Final = {
    "/messages": _MESSAGES,
    "/messages/count_tokens": _COUNT,
    "/chat/completions": _CHAT,
    "/responses": _RESPONSES,
    "/embeddings": _EMBEDDINGS,
}

# Names of models may hold slashes and colons; the method stands behind the last colon.
_GEMINI: Final = re.compile(
    r"(?:/v1|/v1beta|/v3/compat(?:/v1|/v1beta)?)/models/(?P<model>.+)"
    r":(?P<method>generateContent|streamGenerateContent|countTokens)"
)
_GEMINI_PLACES: Final = re.compile(
    r".*/v1(?:alpha|beta)(?:/.*)?|.*/interactions(?:/.*)?|.*/(?:models|tunedModels)/.+:[A-Za-z]+|/upload/.*"
    r"|.*/cachedContents(?:/.*)?"
)
# Of these each API has its own, under the same names.
_SHARED_PLACES: Final = re.compile(r"(?:/v1|/v3/compat(?:/v1)?)/(?:batches|files|models)(?:/.*)?")
# What is not served of OpenAI's API and has no namesake in another one.
_OPENAI_PLACES: Final = re.compile(
    r"(?:/v1|/v3/compat(?:/v1)?)/(?:assistants|audio|completions|containers|conversations|evals|fine_tuning"
    r"|images|moderations|realtime|threads|uploads|vector_stores|videos)(?:/.*)?"
)


def fixed() -> Iterator[tuple[str, Door]]:
    """List every path that is one and the same for all requests, with what is behind it."""
    for place, door in _PLACES.items():
        yield f"/v1{place}", door
        yield f"{COMPAT}{place}", door
        yield f"{COMPAT}/v1{place}", door


def gemini_door(path: str, query_string: bytes) -> Door | None:
    """Return the door of a Gemini path, which names model and method; None for any other path."""
    match = _GEMINI.fullmatch(path)
    if match is None:
        return None
    method = match["method"]
    query = dict(parse_qsl(query_string.decode("latin-1")))
    counting = method == "countTokens"
    streamed = method == "streamGenerateContent"
    read = partial(
        gemini.DIALECT.head,
        model=match["model"],
        streamed=streamed,
        counting=counting,
        # Google knows its system parameters by either name.
        sse="sse" in (query.get("alt"), query.get("$alt")),
    )
    operation = outcomes.COUNT_TOKENS if counting else outcomes.MESSAGES
    # The query may hold the client's key, so nothing of it goes on.
    return Door(
        gemini.DIALECT, read, operation, query=b"", credential=query.get("key", "").encode("latin-1", "replace")
    )


def dialect_at(path: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> Dialect:
    """Return the dialect in which a request to any path, known or not, expects its errors."""
    if _GEMINI_PLACES.fullmatch(path):
        return gemini.DIALECT
    if _SHARED_PLACES.fullmatch(path):
        return _asking(headers)
    for place, door in _PLACES.items():
        if place.startswith("/messages"):
            continue
        if place in path:
            return door.dialect
    return openai_chat.DIALECT if _OPENAI_PLACES.fullmatch(path) else anthropic.DIALECT


def _asking(headers: Iterable[tuple[bytes, bytes]]) -> Dialect:
    """Return the dialect of whoever sends such headers, as far as they tell."""
    names = {name for name, _ in headers}
    if not names.isdisjoint((b"anthropic-version", b"x-api-key")):
        return anthropic.DIALECT
    if b"x-goog-api-key" in names:
        return gemini.DIALECT
    return openai_chat.DIALECT if b"authorization" in names else anthropic.DIALECT
