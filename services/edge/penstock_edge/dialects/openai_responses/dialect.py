"""The Responses format: what the gateway asks of a dialect, answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.dialects import openai_errors
from penstock_edge.dialects.openai_responses.conversation import ResponsesConversation
from penstock_edge.dialects.openai_responses.head import ResponsesHead, forwarded, read_head
from penstock_edge.dialects.openai_responses.passing import PassingStream, never_begun

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.dialects.dialect import Birth, Framing, Head, Headers
    from penstock_edge.errors import Problem
    from penstock_edge.limits import LimitState


class ResponsesDialect:
    """See `penstock_edge.dialects.dialect.Dialect`."""

    name: Final = "openai_responses"
    wire: Final = "responses"

    def head(self, body: bytes) -> ResponsesHead:
        """Read the head of a request. Raises ProblemError (400)."""
        return read_head(body)

    def forwarded(self, head: Head, body: bytes, upstream_model: str) -> bytes:
        """Return the body for an account of the same wire format."""
        return forwarded(_own(head), body, upstream_model)

    def read(self, head: Head, body: bytes, birth: Birth) -> ResponsesConversation:
        """Understand a request whole. Raises ProblemError (400)."""
        return ResponsesConversation(_own(head), body, birth)

    def ping(self, head: Head) -> bytes:  # noqa: ARG002  # every stream has the same
        """Return a comment."""
        return openai_errors.KEEP_ALIVE

    def stream_headers(self, head: Head) -> Headers:  # noqa: ARG002  # every stream has the same
        """Return the headers of a streamed answer."""
        return openai_errors.stream_headers()

    def framing(self, head: Head) -> Framing | None:
        """Return what knows which answer a stream has begun: its end must be of the same."""
        return PassingStream(_own(head))

    def hides_usage(self, head: Head) -> bool:  # noqa: ARG002  # every stream has the same
        """Return False: usage is part of the last event."""
        return False

    def error_status(self, problem: Problem) -> int:
        """Return the status that this dialect's clients understand."""
        return openai_errors.error_status(problem)

    def error_headers(self, problem: Problem) -> Headers:
        """Return the headers of an error answer."""
        return openai_errors.error_headers(problem)

    def error_body(self, problem: Problem, request_id: str) -> bytes:  # noqa: ARG002  # it stands in a header
        """Return the error envelope."""
        return openai_errors.error_body(problem)

    def error_event(self, problem: Problem, request_id: str, head: Head) -> bytes:
        """Return what ends a stream of which nothing but keep-alives went out."""
        return never_begun(problem, request_id, _own(head))

    def limit_headers(self, states: Iterable[LimitState], now: float) -> Headers:  # noqa: ARG002  # they count down
        """Return the remaining limits as `x-ratelimit-*`."""
        return openai_errors.limit_headers(states)


def _own(head: Head) -> ResponsesHead:
    if isinstance(head, ResponsesHead):
        return head
    raise TypeError("the head of another dialect")


DIALECT: Final = ResponsesDialect()
