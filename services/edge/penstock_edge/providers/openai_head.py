"""The head of a request to OpenAI or a server that speaks as it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock_edge.providers.wire import Headers
    from penstock_edge.upstream import Target

REQUEST_ID_HEADER: Final = b"x-request-id"
_FORWARDED: Final = b"openai-beta"


def request_head(
    target: Target, path: bytes, query: bytes, credential: bytes, client: Headers, request_id: str, length: int
) -> bytes:
    """Return the bytes of a request's head. Of the client's headers only its betas go out."""
    name = request_id.encode()
    parts = [
        b"POST ",
        target.path,
        path,
        b"?" + query if query else b"",
        b" HTTP/1.1\r\nhost: ",
        target.host_header,
        b"\r\naccept-encoding: identity\r\ncontent-type: application/json\r\nuser-agent: penstock",
        b"\r\nauthorization: Bearer ",
        credential,
        b"\r\nx-request-id: ",
        name,
        b"\r\nx-client-request-id: ",
        name,
    ]
    for header, value in client:
        if header == _FORWARDED:
            parts += (b"\r\nopenai-beta: ", value)
    parts.append(b"\r\ncontent-length: %d\r\n\r\n" % length)
    return b"".join(parts)
