"""What an answer's head says about its own framing, beyond what the parser already refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.upstream.errors import MalformedAnswerError
from penstock_edge.upstream.fields import Names

if TYPE_CHECKING:
    import httptools

_NO_BODY: Final = frozenset({204, 304})
_FRAMING: Final = Names(b"content-length", b"transfer-encoding")
_FOREVER: Final = float("inf")
# We hang up before the upstream does.
_EARLIER_SECONDS: Final = 1.0


def check_coding(status: int, codings: int, coding: bytes, parser: httptools.HttpResponseParser) -> None:
    """Refuse transfer codings that we do not read: so many, of which `coding` is the last. Raises MalformedAnswerError.

    The parser has refused two lengths, a length beside a transfer coding, and lengths that are no numbers. Of transfer
    codings we read `chunked`, once and alone: any other would be relayed as if it were the body (RFC 9112, 6.1).
    """
    known = codings == 1 and coding.strip().lower() == b"chunked"
    if not known or parser.get_http_version() != "1.1" or status in _NO_BODY:
        raise MalformedAnswerError("the upstream's answer has a transfer coding that cannot be read")


def ends_by_itself(fields: list[bytes]) -> bool:
    """Return whether an answer says where its body ends; otherwise that is where its connection ends."""
    return bool(_FRAMING.among(fields))


def declared_idle_seconds(keep_alive: bytes | None) -> float:
    """Return for how long an idle connection is good by its `Keep-Alive: timeout=...`; for ever without one."""
    if keep_alive is None:
        return _FOREVER
    for part in keep_alive.split(b","):
        name, _, value = part.partition(b"=")
        seconds = value.strip().strip(b'"')
        if name.strip().lower() == b"timeout" and seconds.isdigit() and len(seconds) <= 9:
            return max(0.0, int(seconds) - _EARLIER_SECONDS)
    return _FOREVER
