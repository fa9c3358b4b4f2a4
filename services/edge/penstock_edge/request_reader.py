"""Reads what a client sends on one connection: requests, one after the other, as httptools' parser finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httptools

from penstock_edge.direct_turn import Line

if TYPE_CHECKING:
    from penstock_edge.client_timers import ClientTimers
    from penstock_edge.dialects.dialect import Headers

_UPGRADING: Final = frozenset({b"upgrade", b"http2-settings"})


class RequestReader(Line):
    """The reading half of a connection; the other half is told of heads, bodies and ends.

    One class with it, in two layers: each connection would else have an object more, and each of the parser's calls
    another one behind it.
    """

    __slots__ = (
        "_between",
        "_expects",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_opening",
        "_parser",
        "_timers",
        "_upgrading",
        "_url",
    )

    _timers: ClientTimers

    def __init__(self) -> None:
        self._parser: httptools.HttpRequestParser | None = None
        """None: nothing more is read."""
        self._url = b""
        self._headers: Headers = []
        self._expects = False
        """The client waits to be told to send its body."""
        self._upgrading = False
        self._in_head = True
        self._head_bytes = 0
        """How much has come of a request besides its body: of a head, extensions of chunks, trailers."""
        self._opening = b""
        """What has come just now, if a request begins at its beginning."""
        self._parse_anew()

    def _parse_anew(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        # A request that follows one with `Connection: close` is passed over instead of refused.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._between = True
        """No request has begun that has not ended."""

    # What the other half does

    def head_read(self, parser: httptools.HttpRequestParser, url: bytes, headers: Headers, version: str) -> None:
        """Take a request whose head is whole.

        `version` is that of HTTP where it is a POST whose body comes unasked, "" for any other request.
        """
        raise NotImplementedError

    def body_read(self, piece: bytes) -> None:
        """Take a piece of a body."""
        raise NotImplementedError

    def request_read(self) -> None:
        """Hear that a request is whole."""
        raise NotImplementedError

    def nothing_follows(self) -> None:
        """Hear that the last request wished to connect, and what follows is no HTTP."""
        raise NotImplementedError

    # Reading

    def read(self, data: bytes) -> None:
        """Parse what came. Raises httptools.HttpParserError."""
        parser = self._parser
        if parser is None:
            return
        if self._between:
            self._opening = data
        else:
            self._opening = b""
            self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._upgrading:
                self._stay(parser, data[upgrade.args[0] :])
            else:
                self._parser = None
                self.nothing_follows()

    def _stay(self, parser: httptools.HttpRequestParser, rest: bytes) -> None:
        """Parse a request anew without its wish for another protocol: a server may pass over that, its parser does not.

        Java's own client wishes for HTTP/2 with every first request, those with a body too.
        """
        self._upgrading = False
        url, headers = self._url, self._headers
        self._url, self._headers = b"", []
        head = [b"%b %b HTTP/%b" % (parser.get_method(), url, parser.get_http_version().encode())]
        for name, value in headers:
            if name == b"connection":
                words = [word for word in map(bytes.strip, value.split(b",")) if word.lower() not in _UPGRADING]
                head += [b"connection: " + b", ".join(words)] if words else []
            elif name not in _UPGRADING:
                head.append(name + b": " + value)
        self._parse_anew()
        self.read(b"\r\n".join(head) + b"\r\n\r\n" + rest)

    # The parser's callbacks

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._between = False
        self._in_head = True
        self._head_bytes = 0
        self._timers.request_begun()
        self._expects = False

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which is forgotten with the request's end."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """End a head."""
        parser = self._parser
        if parser is None:
            return
        self._in_head = False
        self._head_bytes = 0
        self._timers.head_over()
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            self._upgrading = True
            return
        version = self._plain_version(parser)
        # A key is known no longer than its request is; and trailers are not headers.
        url, headers = self._url, self._headers
        self._url, self._headers = b"", []
        self.head_read(parser, url, headers, version)

    def _plain_version(self, parser: httptools.HttpRequestParser) -> str:
        end = 5 + len(self._url)
        # Nearly always; the parser makes a text of the version for each who asks.
        if self._opening[:5] == b"POST " and self._opening[end : end + 11] == b" HTTP/1.1\r\n":
            return "" if self._expects else "1.1"
        if parser.get_method() != b"POST":
            return ""
        version = parser.get_http_version()
        # Who speaks 1.0 waits for no leave, whatever else is said (RFC 9110, 10.1.1).
        return version if version == "1.0" or (version == "1.1" and not self._expects) else ""

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of a body."""
        self._head_bytes = 0
        self.body_read(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._opening = b""
        if self._upgrading:
            return
        self._between = True
        if self._headers:
            self._headers = []
        self.request_read()
