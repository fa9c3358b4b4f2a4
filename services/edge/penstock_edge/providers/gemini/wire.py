"""The wire format as the gateway asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from penstock_edge.providers.gemini import answer, failure, request
from penstock_edge.providers.gemini.parser import GeminiParser
from penstock_edge.providers.gemini.sniffer import GeminiSniffer

if TYPE_CHECKING:
    from penstock_edge import canonical
    from penstock_edge.providers.failure import Failure
    from penstock_edge.providers.wire import Addressee, Headers, Written
    from penstock_edge.upstream import Target
    from penstock_edge.usage import UsageMeter
    from penstock_routing.accounts import Hints

_COLLECTIONS: Final = ("models/", "tunedModels/")


class GenerateWire:
    """generateContent, streamGenerateContent and countTokens."""

    name = "generate"
    request_id_header = b"x-goog-request-id"

    def path(self, model: str, *, streamed: bool, counting: bool) -> bytes:
        """Return the path below the base URL; a method stands behind the model's name."""
        resource = model if model.startswith(_COLLECTIONS) else f"models/{model}"
        method = "countTokens" if counting else "streamGenerateContent" if streamed else "generateContent"
        return f"/v1beta/{quote(resource, safe='/')}:{method}".encode()

    def query(self, client: bytes, *, streamed: bool) -> bytes:
        """Return the query: streams are asked for as SSE. Nothing of the client's passes, for keys stand there."""
        del client
        return b"alt=sse" if streamed else b""

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
        """Return the bytes of a request's head. None of the client's headers means anything to Google."""
        del client
        return b"".join(
            (
                b"POST ",
                target.path,
                path,
                b"?" + query if query else b"",
                b" HTTP/1.1\r\nhost: ",
                target.host_header,
                b"\r\naccept-encoding: identity\r\ncontent-type: application/json\r\nuser-agent: penstock",
                b"\r\nx-goog-api-key: ",
                credential,
                b"\r\nx-request-id: ",
                request_id.encode(),
                b"\r\ncontent-length: %d\r\n\r\n" % length,
            )
        )

    def read_answer(self, body: bytes, meter: UsageMeter) -> bool:
        """Take over the usage of a unary answer; False when the body cannot be one."""
        return answer.read_answer(body, meter)

    def sniffer(self, meter: UsageMeter) -> GeminiSniffer:
        """Return a sniffer for one stream."""
        return GeminiSniffer(meter)

    def write(self, request_: canonical.Request, to: Addressee, *, streamed: bool) -> Written:
        """Write a request; that it is streamed stands in its path. Raises ProblemError (400)."""
        del streamed
        return request.write(request_, to)

    def write_count(self, request_: canonical.Request, to: Addressee) -> Written:
        """Write a request to count tokens. Raises ProblemError (400)."""
        return request.write_count(request_, to)

    def parse(self, body: bytes) -> canonical.Message:
        """Read a unary answer. Raises UnreadableError."""
        return answer.parse(body)

    def parse_count(self, body: bytes) -> int:
        """Read a token count. Raises UnreadableError."""
        return answer.parse_count(body)

    def parser(self) -> GeminiParser:
        """Return a parser for one stream."""
        return GeminiParser()

    def of_status(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Return what an error answer means."""
        return failure.of_status(status, headers, body)

    def hints(self, headers: Headers) -> Hints | None:
        """Return None: Google's answers say nothing of an account's limits."""
        del headers
        return None


WIRE: Final[GenerateWire] = GenerateWire()
