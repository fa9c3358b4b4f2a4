"""The head of an answer: one line for each header, and no more."""

import pytest

from penstock_edge.answer_head import READY, DefaultLines, answer_head, lines, pairs

DATE = (b"date", b"Sat, 21 Nov 2026 22:30:00 GMT")
LINE = b"\r\ndate: Sat, 21 Nov 2026 22:30:00 GMT"


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_head_is_a_line_for_each_header(chunked, keep_alive):
    headers = [(b"content-type", b"a\tb"), (b"request-id", b"req_1"), (b"anthropic-ratelimit-tokens-reset", b"1")]
    head = answer_head(200, LINE, headers, chunked=chunked, keep_alive=keep_alive)
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    more = [b"transfer-encoding: chunked"] * chunked + [b"connection: close"] * (not keep_alive)
    assert first == b"HTTP/1.1 200 OK"
    assert lines == [b": ".join(pair) for pair in (DATE, *headers)] + more


def test_every_status_has_a_line():
    assert [answer_head(status, b"", [], chunked=False, keep_alive=True)[:12] for status in range(100, 600)] == [
        b"HTTP/1.1 %d" % status for status in range(100, 600)
    ]
    assert answer_head(299, b"", [], chunked=False, keep_alive=True) == b"HTTP/1.1 299 \r\n\r\n"


@pytest.mark.parametrize("control", [*range(0x20), 0x7F])
def test_what_comes_from_elsewhere_holds_no_controls(control):
    for header in [(b"content-type", b"a%cb" % control), (b"a%cb" % control, b"c")]:
        if control == 0x09:
            assert answer_head(200, b"", [header], chunked=False, keep_alive=True)
            continue
        with pytest.raises(ValueError, match="control characters"):
            answer_head(200, b"", [header], chunked=False, keep_alive=True)


def test_lines_that_are_ready_stand_in_a_head_as_headers_do():
    headers = [(b"penstock-model", b"a: b"), (b"penstock-input-tokens", b"1")]
    ready = [(b"content-type", b"c"), (READY, lines(headers)), (READY, b""), (b"request-id", b"req_1")]
    single = [ready[0], *headers, ready[3]]
    assert pairs(ready) == single
    heads = [answer_head(200, LINE, some, chunked=False, keep_alive=True) for some in (ready, single)]
    assert heads[0] == heads[1]


def test_no_line_that_is_made_ready_holds_controls():
    with pytest.raises(ValueError, match="control characters"):
        lines([(b"penstock-model", b"a\r\nb: c")])


def test_the_default_lines_are_made_once_for_a_list():
    lines, headers = DefaultLines(), [DATE, (b"server", b"penstock")]
    assert lines.of([]) == b""
    assert lines.of(headers) == LINE + b"\r\nserver: penstock"
    assert lines.of(headers) is lines.of(headers)
    assert lines.of([DATE]) == LINE
