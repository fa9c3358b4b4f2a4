"""The Responses format: what the gateway asks of a wire format, answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.providers import openai_failure
from penstock_edge.providers.openai_head import REQUEST_ID_HEADER, request_head
from penstock_edge.providers.openai_responses import answer
from penstock_edge.providers.openai_responses.parser import ResponsesParser
from penstock_edge.providers.openai_responses.request import write, write_count
from penstock_edge.providers.openai_responses.sniffer import ResponsesSniffer

if TYPE_CHECKING:
    from penstock_edge import canonical
    from penstock_edge.providers.failure import Failure
    from penstock_edge.providers.wire import Addressee, Headers, Written
    from penstock_edge.upstream import Target
    from penstock_edge.usage import UsageMeter
    from penstock_routing.accounts import Hints


class ResponsesWire:
    """See `penstock_edge.providers.wire.Wire`."""

    name: Final = "responses"
    request_id_header: Final = REQUEST_ID_HEADER

    def path(self, model: str, *, streamed: bool, counting: bool) -> bytes:  # noqa: ARG002  # the body says them
        """Return the path below the account's base URL."""
        return b"/responses/input_tokens" if counting else b"/responses"

    def query(self, client: bytes, *, streamed: bool) -> bytes:  # noqa: ARG002  # the body says it
        """Return nothing: this format has no query."""
        return b""

    def head(
        self,
        target: Target,
        path: bytes,
        query: bytes,
        credential: bytes,
        client: Headers,
        request_id: str,
        length: int,
    ) -> bytes:
        """Return the bytes of a request's head."""
        return request_head(target, path, query, credential, client, request_id, length)

    def read_answer(self, body: bytes, meter: UsageMeter) -> bool:
        """Take over the usage of a unary answer; False when the body cannot be one."""
        return answer.read_answer(body, meter)

    def sniffer(self, meter: UsageMeter) -> ResponsesSniffer:
        """Return a sniffer for one stream."""
        return ResponsesSniffer(meter)

    def write(self, request: canonical.Request, to: Addressee, *, streamed: bool) -> Written:
        """Write a request. Raises ProblemError (400)."""
        return write(request, to, streamed=streamed)

    def write_count(self, request: canonical.Request, to: Addressee) -> Written:
        """Write a request to count tokens. Raises ProblemError (400)."""
        return write_count(request, to)

    def parse(self, body: bytes) -> canonical.Message:
        """Read a unary answer. Raises canonical.UnreadableError."""
        return answer.parse(body)

    def parse_count(self, body: bytes) -> int:
        """Read a token count. Raises canonical.UnreadableError."""
        return answer.parse_count(body)

    def parser(self) -> ResponsesParser:
        """Return a parser for one stream."""
        return ResponsesParser()

    def of_status(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Return what an error answer means."""
        return openai_failure.of_status(status, headers, body)

    def hints(self, headers: Headers) -> Hints | None:
        """Return what an answer says of the account's own limits."""
        return openai_failure.hints(headers)


WIRE: Final[ResponsesWire] = ResponsesWire()
