"""chat.completions as accounts speak it: OpenAI's own, and those of the many servers that are compatible with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.canonical import UnreadableError
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers import openai_chat_answer, openai_chat_request, openai_failure
from penstock_edge.providers.openai_chat_sniffer import ChatSniffer, read_answer
from penstock_edge.providers.openai_chat_stream import ChatParser
from penstock_edge.providers.openai_head import REQUEST_ID_HEADER, request_head

if TYPE_CHECKING:
    from penstock_edge.canonical import Message, Request
    from penstock_edge.providers.failure import Failure
    from penstock_edge.providers.wire import Addressee, Headers, Written
    from penstock_edge.upstream import Target
    from penstock_edge.usage import UsageMeter
    from penstock_routing.accounts import Hints


class ChatWire:
    """The wire format; stateless."""

    name = "chat"
    request_id_header = REQUEST_ID_HEADER

    def path(self, model: str, *, streamed: bool, counting: bool) -> bytes:  # noqa: ARG002  # one path for all
        """Return the path below the account's base URL."""
        return b"/chat/completions"

    def query(self, client: bytes, *, streamed: bool) -> bytes:  # noqa: ARG002  # there is none
        """Return no query string."""
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
        return read_answer(body, meter)

    def sniffer(self, meter: UsageMeter) -> ChatSniffer:
        """Return a sniffer for one stream."""
        return ChatSniffer(meter)

    def write(self, request: Request, to: Addressee, *, streamed: bool) -> Written:
        """Write a request. Raises ProblemError (400)."""
        return openai_chat_request.write(request, to, streamed=streamed)

    def write_count(self, request: Request, to: Addressee) -> Written:  # noqa: ARG002  # whatever it is
        """Refuse: this format has no way to count tokens."""
        raise ProblemError(invalid("model: the provider of this model cannot count tokens"))

    def parse(self, body: bytes) -> Message:
        """Read a unary answer. Raises UnreadableError."""
        return openai_chat_answer.parse(body)

    def parse_count(self, body: bytes) -> int:  # noqa: ARG002  # whatever it is
        """Refuse: nothing was asked."""
        raise UnreadableError

    def parser(self) -> ChatParser:
        """Return a parser for one stream."""
        return ChatParser()

    def of_status(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Return what an error answer means."""
        return openai_failure.of_status(status, headers, body)

    def hints(self, headers: Headers) -> Hints | None:
        """Return what an answer says of the account's own limits."""
        return openai_failure.hints(headers)


WIRE: Final[ChatWire] = ChatWire()
