"""The head of an answer as bytes: made for every request, so what is the same for all is made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from penstock_edge.dialects.dialect import Headers

_STATUS_LINES: Final[dict[int, bytes]] = {status: line.removesuffix(b"\r\n") for status, line in STATUS_LINE.items()}
# No header may hold these: it could be read as two.
_CONTROLS: Final = frozenset({*range(0x20), 0x7F} - {*b"\t"})
_SHOWN: Final = bytes(0x3F if byte in _CONTROLS else byte for byte in range(0x100))
_USUAL_TYPES: Final = frozenset({b"application/json", b"text/event-stream; charset=utf-8"})

_UNITS: Final = (b"requests", b"tokens", b"input-tokens", b"output-tokens")
_SIDES: Final = (b"limit", b"remaining", b"reset")
# Numbers, times and names of our own making: of these no value is looked at. Never put here what comes from elsewhere.
_OUR_OWN: Final = (
    b"content-length",
    b"request-id",
    b"x-request-id",
    b"penstock-input-tokens",
    b"penstock-output-tokens",
    b"penstock-cost-micro",
    *(b"anthropic-ratelimit-%b-%b" % (unit, side) for unit in _UNITS for side in _SIDES),
    *(b"x-ratelimit-%b-%b" % (side, unit) for unit in _UNITS for side in _SIDES),
)
READY: Final = b""
"""In place of a header's name: its value is `lines`, made once for many answers."""
_BEGINNINGS: Final[dict[bytes, bytes]] = {READY: b"", **{name: b"\r\n%b: " % name for name in _OUR_OWN}}


def answer_head(status: int, default: bytes, headers: Headers, *, chunked: bool, keep_alive: bool) -> bytes:
    """Return a head. `default`: the `lines` of headers that all answers have.

    Raises ValueError when a header could be read as anything but itself.
    """
    parts = [_STATUS_LINES[status], default]
    _add(parts, headers)
    if chunked:
        parts.append(b"\r\ntransfer-encoding: chunked")
    parts.append(b"\r\n\r\n" if keep_alive else b"\r\nconnection: close\r\n\r\n")
    return b"".join(parts)


def lines(headers: Headers) -> bytes:
    """Return headers as they stand in a head. Raises ValueError as `answer_head` does."""
    parts: list[bytes] = []
    _add(parts, headers)
    return b"".join(parts)


def pairs(headers: Headers) -> Headers:
    """Return each header by itself, for a server that wants them so."""
    found: Headers = []
    for name, value in headers:
        if name != READY:
            found.append((name, value))
            continue
        for line in value.split(b"\r\n")[1:]:
            first, _, rest = line.partition(b": ")
            found.append((first, rest))
    return found


def _add(parts: list[bytes], headers: Headers) -> None:
    for name, value in headers:
        beginning = _BEGINNINGS.get(name)
        parts.append(_checked(name, value) if beginning is None else beginning)
        parts.append(value)


def _checked(name: bytes, value: bytes) -> bytes:
    """Return what stands before the value."""
    if name == b"content-type" and value in _USUAL_TYPES:
        return b"\r\ncontent-type: "
    line = b"%b: %b" % (name, value)
    if line.translate(_SHOWN) != line:
        raise ValueError("an answer's headers hold control characters")
    return b"\r\n%b: " % name


class DefaultLines:
    """The headers that all answers have, as bytes: the date, of which the server makes a new list each second."""

    __slots__ = ("_headers", "_lines")

    def __init__(self) -> None:
        self._headers: Headers = []
        self._lines = b""

    def of(self, headers: Headers) -> bytes:
        """Return the lines of a list that is never changed."""
        if headers is not self._headers:
            self._lines = lines(headers)
            self._headers = headers
        return self._lines
