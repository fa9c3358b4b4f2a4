"""What a client sends is read the same in whatever pieces it comes."""

from __future__ import annotations

import itertools

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.request_reader import RequestReader


class Timers:
    """Counts heads: those that have begun, and those that were whole."""

    def __init__(self):
        self.begun = self.over = 0

    def request_begun(self):
        self.begun += 1

    def head_over(self):
        self.over += 1


class Reader(RequestReader):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__()
        self._timers = Timers()
        self.told = []
        self.followed = True

    def head_read(self, parser, url, headers, version):
        self.told.append([parser.get_method(), url, headers, version, b"", False])

    def body_read(self, piece):
        self.told[-1][4] += piece

    def request_read(self):
        self.told[-1][5] = True

    def nothing_follows(self):
        self.followed = False


def post(*headers, version="1.1", body=b"{}", method="POST"):
    lines = [f"{method} /v1/messages?a=1 HTTP/{version}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read(*pieces):
    reader = Reader()
    for piece in pieces:
        reader.read(piece)
    return reader


URL = b"/v1/messages?a=1"
LENGTH = (b"content-length", b"2")
UPGRADE = ("Connection: keep-alive, Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAM")
CHUNKS = b"POST /v1/messages?a=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nX-Trailer: a\r\n\r\n"
KINDS = [
    (post(), b"POST", [LENGTH], "1.1"),
    (post("X-API-Key: k"), b"POST", [LENGTH, (b"x-api-key", b"k")], "1.1"),
    (post(version="1.0"), b"POST", [LENGTH], "1.0"),
    (post("Expect: 100-Continue"), b"POST", [LENGTH, (b"expect", b"100-Continue")], ""),
    (post("Expect: 100-continue", version="1.0"), b"POST", [LENGTH, (b"expect", b"100-continue")], "1.0"),
    (post(method="PUT"), b"PUT", [LENGTH], ""),
    (post(*UPGRADE), b"POST", [LENGTH, (b"connection", b"keep-alive")], "1.1"),
    (CHUNKS, b"POST", [(b"transfer-encoding", b"chunked")], "1.1"),
]


@pytest.mark.parametrize(("sent", "method", "headers", "version"), KINDS)
def test_a_request_is_read_cut_at_every_byte(sent, method, headers, version):
    told = [method, URL, headers, version, b"{}", True]
    for at in range(len(sent) + 1):
        assert read(sent[:at], sent[at:]).told == [told], at
    assert read(*(sent[at : at + 1] for at in range(len(sent)))).told == [told]


# What follows a request of HTTP/1.0 is passed over.
LASTING = [kind for kind in KINDS if b"HTTP/1.0" not in kind[0]]


@given(st.lists(st.sampled_from(LASTING), min_size=1, max_size=4), st.sets(st.integers(0, 800), max_size=8))
def test_requests_follow_each_other(kinds, cuts):
    sent = b"".join(kind[0] for kind in kinds)
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    reader = read(*(sent[a:b] for a, b in itertools.pairwise(places)))
    assert [one[:4] for one in reader.told] == [
        [method, URL, headers, version] for _, method, headers, version in kinds
    ]
    assert all(one[4:] == [b"{}", True] for one in reader.told)
    assert reader._between
    assert reader._timers.over >= len(kinds)


def test_what_a_request_has_besides_its_body_is_counted():
    reader = read(b"POST / HTTP/1.1\r\n")
    assert reader._head_bytes == 0, "what comes at once is bounded by what is read at once"
    reader.read(b"X-Long: " + b"a" * 1000)
    assert (reader._head_bytes, reader._in_head) == (1008, True)
    reader.read(b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (reader._head_bytes, reader._in_head) == (0, False)
    reader.read(b"1;" + b"x" * 500)
    assert reader._head_bytes == 502
    reader.read(b"\r\n{\r\n")
    assert reader._head_bytes == 0


def test_nothing_follows_a_wish_to_connect():
    reader = read(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
    assert [one[:2] for one in reader.told] == [[b"CONNECT", b"a.example:443"]]
    assert not reader.followed
    reader.read(b"\x16\x03\x01")
    assert len(reader.told) == 1


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x00", b"GET / HTTP/9\r\n\r\n", post("Content-Length: 3"), b"POST / HTTP/1.1\r\nA B: c\r\n\r\n"],
)
def test_what_is_no_http_is_refused(sent):
    with pytest.raises(httptools.HttpParserError):
        read(sent)
