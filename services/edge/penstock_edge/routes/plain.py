"""What the ordinary endpoints share: who asks, and how answers and problems become responses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_edge import errors, request_id
from penstock_edge.credentials import key_digest
from penstock_edge.errors import ProblemError
from penstock_edge.records import Refused
from penstock_edge.routes.doors import dialect_at
from penstock_edge.routes.route import Answer

if TYPE_CHECKING:
    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.errors import Problem
    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.routes.route import Asked
    from penstock_edge.seams import Admission


async def caller(asked: Asked, admission: Admission, seconds: float, credential: str = "") -> tuple[bytes, KeyFacts]:
    """Return the digest and the facts of the asking key; nothing is debited. Raises ProblemError.

    `credential`: a key that came in the query, for requests without one in a header.
    """
    headers = asked.headers
    if credential:
        headers = [*headers, (b"x-goog-api-key", credential.encode("latin-1", "replace"))]
    digest = key_digest(headers, admission.known)
    answer = await admission.identify(digest, time.monotonic() + seconds)
    if isinstance(answer, Refused):
        raise ProblemError(errors.refused(answer))
    return digest, answer


def answer(content: Any, status: int = 200, headers: Headers | None = None) -> Answer:
    """Return an answer in JSON."""
    return Answer(status, msgspec.json.encode(content), [*(headers or []), (b"content-type", b"application/json")])


def refusal(problem: Problem, path: str = "", asked_with: Headers | None = None) -> Answer:
    """Return a problem in the error envelope that clients of this path read, who sent these headers."""
    name = request_id.new()
    dialect = dialect_at(path, asked_with or ())
    headers = [*dialect.error_headers(problem), (b"request-id", name.encode())]
    return Answer(dialect.error_status(problem), dialect.error_body(problem, name), headers)


def nothing_at(path: str) -> str:
    """Say that there is nothing at a path, and where to go instead if that is known."""
    if "/interactions" in path:
        return "the Interactions API is not served here: use models/{model}:generateContent or :streamGenerateContent"
    if names_a_method(path):
        return (
            "of the Gemini API, generateContent, streamGenerateContent and countTokens are served here, under /v1beta "
            "and /v1"
        )
    return f"there is nothing at {path[:200]}"


def names_a_method(path: str) -> bool:
    """Whether a path asks for a method of Gemini's API, such as `models/x:embedContent`."""
    return "/models/" in path and ":" in path
