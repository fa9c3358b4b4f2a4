"""The head of a request to OpenAI or a server that speaks as it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock_edge.providers.wire import Headers
    from penstock_edge.upstream import Target

REQUEST_ID_HEADER: Final = b"x-request-id"
_BETA: Final = b"openai-beta"
_BETA_SIZE: Final = 11


def request_head(
    target: Target, path: bytes, query: bytes, credential: bytes, client: Headers, request_id: str, length: int
) -> bytes:
    """Return the bytes of a request's head. Of the client's headers only its betas go out."""
    name = request_id.encode()
    said = b""
    for header, value in client:
        if len(header) == _BETA_SIZE and header == _BETA:
            said = said + b"\r\nopenai-beta: " + value
    return (
        b"POST %b%b%b HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\ncontent-type: application/json\r\n"
        b"user-agent: penstock\r\nauthorization: Bearer %b\r\nx-request-id: %b\r\nx-client-request-id: %b%b\r\n"
        b"content-length: %d\r\n\r\n"
    ) % (target.path, path, b"?" + query if query else b"", target.host_header, credential, name, name, said, length)
