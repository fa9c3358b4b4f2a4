"""Reads what an upstream sends on one connection: answers, one after the other, as httptools' parser finds them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httptools

from penstock_edge.upstream.answers import check_coding
from penstock_edge.upstream.errors import MalformedAnswerError, ProxyError, UpstreamError
from penstock_edge.upstream.proxies import PROXY_AUTHENTICATION_REQUIRED

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.upstream.call import Call

# Of a head, and of whatever else holds no body: interim answers, chunk sizes, trailers.
MAX_HEAD_BYTES: Final = 128 * 1024
_MAX_HEADERS: Final = 512
_MAX_INTERIM_ANSWERS: Final = 16
_CODING: Final = b"transfer-encoding"
_CODING_LENGTH: Final = 17


class AnswerReader(asyncio.Protocol):
    """The reading half of a connection; what is read goes to the call that is under way.

    One class with the other half, in two layers: each of the parser's calls would else have another one behind it.
    """

    __slots__ = (
        "_bodiless",
        "_call",
        "_coding",
        "_codings",
        "_feed",
        "_forwarded",
        "_in_head",
        "_interim",
        "_over",
        "_parser",
        "_spoiled",
    )

    def __init__(self, *, forwarded: bool) -> None:
        self._parser: httptools.HttpResponseParser | None = None
        # Kept bound, because every answer calls it: looking it up costs as much as it does.
        self._feed: Callable[[bytes], None] | None = None
        self._call: Call | None = None
        self._forwarded = forwarded
        """A proxy stands between, and answers itself when it does not know us."""
        self._reset_answer()

    def _reset_answer(self) -> None:
        self._bodiless = 0
        """Bytes since the last piece of a body."""
        self._interim = 0
        self._in_head = True
        self._codings = 0
        self._coding = b""
        self._over = False
        """All of the answer has come."""
        self._spoiled = False
        """No other call may follow on this connection."""

    def begin_reading(self) -> None:
        """Make the parser."""
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data

    def end_reading(self) -> None:
        """Let go of the parser, which names this connection."""
        self._parser = None
        self._feed = None

    def read(self, data: bytes) -> UpstreamError | None:
        """Parse what came; return what is wrong with it.

        Not raised: with a traceback it would name this connection, which names the call that keeps it.
        """
        feed = self._feed
        if feed is None:
            return None
        self._bodiless += len(data)
        try:
            feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._over:
                return _told(error)
            self._spoiled = True
        if self._bodiless > MAX_HEAD_BYTES and not self._over:
            return MalformedAnswerError("the head of the upstream's answer is too large")
        return None

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """Note an answer that nobody asked for."""
        if self._over:
            self._spoiled = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers are dropped, because what follows a body changes nothing about it."""
        call = self._call
        if call is None or not self._in_head:
            return
        fields = call.fields
        fields.append(name)
        fields.append(value)
        if len(name) == _CODING_LENGTH and name.lower() == _CODING:
            self._codings += 1
            self._coding = value

    def on_headers_complete(self) -> None:
        """Hand a final answer's head to the call."""
        call, parser = self._call, self._parser
        if call is None or parser is None or self._over:
            return
        status = parser.get_status_code()
        if 100 <= status < 200:
            return
        if status < 100 or len(call.fields) > 2 * _MAX_HEADERS:
            raise MalformedAnswerError("the head of the upstream's answer is no answer's")
        if status == PROXY_AUTHENTICATION_REQUIRED and self._forwarded:
            raise ProxyError("the proxy wants other credentials (407)")
        if self._codings:
            check_coding(status, self._codings, self._coding, parser)
        self._in_head = False
        call.status = status
        call.begin_body()

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body to the call."""
        self._bodiless = 0
        if self._call is not None and not self._over:
            self._call.take(body)

    def on_message_complete(self) -> None:
        """Note the answer's end, or pass over an interim one (1xx)."""
        if self._over:
            return
        parser = self._parser
        if self._in_head:
            self._forget_interim()
            self._interim += 1
            if self._interim > _MAX_INTERIM_ANSWERS or parser is None or parser.get_status_code() == 101:
                raise ValueError("too many interim answers")
            return
        self._over = True
        # The parser knows about `Connection: close` here and only here.
        if parser is None or not parser.should_keep_alive():
            self._spoiled = True

    def _forget_interim(self) -> None:
        self._codings = 0
        if self._call is not None:
            self._call.fields.clear()


def _told(error: Exception) -> UpstreamError:
    """Return our own error from under the parser's, which wraps what its callbacks raise."""
    cause = error.__context__
    if isinstance(cause, UpstreamError):
        return cause
    return MalformedAnswerError("the upstream's answer is not valid HTTP/1.1")
