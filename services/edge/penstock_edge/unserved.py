"""Answers to what never became a request, or that nobody has answered. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.dialects.anthropic import DIALECT
from penstock_edge.errors import INTERNAL, invalid

if TYPE_CHECKING:
    from penstock_edge.errors import Problem

Reason = tuple[str, "Problem"]
"""A status line's code and reason, and what was wrong."""

TOO_LARGE: Final[Reason] = ("431 Request Header Fields Too Large", invalid("the headers of this request are too long"))
MALFORMED: Final[Reason] = ("400 Bad Request", invalid("this is not a valid HTTP request"))
CRASHED: Final[Reason] = ("500 Internal Server Error", INTERNAL)


def whole_answer(why: Reason, name: str) -> bytes:
    """Return a whole answer, in the envelope of the Messages format, after which the connection ends.

    `name`: the request's id.
    """
    status, problem = why
    body = DIALECT.error_body(problem, name)
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-should-retry: false\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\nrequest-id: {name}\r\n\r\n"
    )
    return head.encode() + body
