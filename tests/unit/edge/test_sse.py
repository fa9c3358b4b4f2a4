"""Events come out whole and unchanged, wherever the stream was cut."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.sse import EventSplitter, EventTooLargeError, data_of

LINE_ENDS = ["\n", "\r\n", "\r"]
# All of these may stand raw inside an event's JSON and end no line.
NOT_LINE_ENDS = "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e"

texts = st.text(
    alphabet=st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)) | st.sampled_from(NOT_LINE_ENDS)
)


@st.composite
def streams(draw):
    end = draw(st.sampled_from(LINE_ENDS))
    events = draw(st.lists(texts, min_size=1, max_size=6))
    return end, events, "".join(f"event: x{end}data: {text}{end}{end}" for text in events).encode()


@pytest.mark.parametrize("raw", [b"data: 1\n\ndata: 2\n\n", b"event: x\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n"])
def test_a_byte_order_mark_says_nothing(raw):
    marked = codecs.BOM_UTF8 + raw
    for cut in range(len(marked) + 1):
        splitter = EventSplitter()
        events = splitter.feed(marked[:cut]) + splitter.feed(marked[cut:])
        assert b"".join(events) + splitter.rest() == raw
        assert [d for event in events if (d := data_of(event))] == [b"1", b"2"]
    splitter = EventSplitter()
    assert b"".join(event for i in range(len(marked)) for event in splitter.feed(marked[i : i + 1])) in {raw, raw[:-1]}


def test_only_the_first_byte_order_mark_is_one():
    splitter = EventSplitter()
    assert splitter.feed(codecs.BOM_UTF8 * 2 + b"data: 1\n\n") == [codecs.BOM_UTF8 + b"data: 1\n\n"]
    later = codecs.BOM_UTF8 + b"data: 2\n\n"
    assert splitter.feed(later) == [later]


def test_the_rest_of_a_stream_without_a_whole_event():
    splitter = EventSplitter()
    assert (splitter.pending, splitter.rest()) == (0, b"")
    for mark in (b"", codecs.BOM_UTF8):
        splitter = EventSplitter()
        assert splitter.feed(mark + b"data: 1\n") == []
        assert (splitter.pending, splitter.rest()) == (8, b"data: 1\n")


@given(streams(), st.data())
def test_every_cut_gives_the_same_events(stream, data):
    _end, texts, raw = stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    splitter = EventSplitter()
    out = []
    for begin, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        out += splitter.feed(raw[begin:stop])
    # A CR at the end of a piece may be the whole line end or the half of one.
    left = splitter.rest()
    assert b"".join(out) + left == raw
    assert left in (b"", b"\n")
    expected = [data_of(f"data: {text}\n\n".encode()) for text in texts]
    assert [d for event in out if (d := data_of(event).strip(b" "))] == [d for e in expected if (d := e.strip(b" "))]


def test_every_byte_boundary_of_one_stream():
    raw = (
        'event: a\ndata: {"t":"\u2028\u0085é\U0001f600"}\n\n: comment\n\ndata: 1\ndata: 2\n\n'
        "event: b\r\ndata: {}\r\n\r\nevent: c\rdata: x\r\r"
    ).encode()
    expected = [data_of(event) for event in EventSplitter().feed(raw)]
    assert expected == ['{"t":"\u2028\u0085é\U0001f600"}'.encode(), b"", b"1\n2", b"{}", b"x"]
    for cut in range(len(raw) + 1):
        splitter = EventSplitter()
        events = splitter.feed(raw[:cut]) + splitter.feed(raw[cut:])
        assert b"".join(events) + splitter.rest() == raw
        assert [d for event in events if (d := data_of(event))] == [d for d in expected if d]
    splitter = EventSplitter()
    drip = [event for i in range(len(raw)) for event in splitter.feed(raw[i : i + 1])]
    assert [d for event in drip if (d := data_of(event))] == [d for d in expected if d]


@pytest.mark.parametrize(
    ("chunk", "events"),
    [
        (b"data: 1\r\n\r\n", 1),
        (b"event: x\r\ndata: 1\r\n\r\n", 1),
        (b"data: 1\n\ndata: 2\r\n\r\n", 2),
        (b"data: 1\r\rdata: 2\r\n\r\n", 2),
        (b"data: 1\n\rdata: 2\r\n\r\n", 2),
        (b"\r\n\r\n", 1),
        (b"data: 1\r\n\r\n\r\n", 1),
    ],
)
@pytest.mark.parametrize("before", [b"", b"data: 0\n\n"])
def test_one_chunk_of_whole_events(chunk, events, before):
    splitter = EventSplitter()
    assert splitter.feed(before) == ([before] if before else [])
    found = splitter.feed(chunk)
    assert len(found) == events
    assert b"".join(found) + splitter.rest() == chunk


def test_what_is_not_whole_is_held():
    splitter = EventSplitter()
    assert splitter.feed(b"event: a\ndata: 1\n") == []
    assert splitter.pending == 17
    assert splitter.feed(b"\nevent: b\n") == [b"event: a\ndata: 1\n\n"]
    assert splitter.pending == 9


@pytest.mark.parametrize("pieces", [[b"x" * 200], [b"x" * 60, b"x" * 60], [b"a\n\n" + b"x" * 150]])
def test_an_endless_event_is_refused(pieces):
    splitter = EventSplitter(limit=100)
    with pytest.raises(EventTooLargeError):
        for piece in pieces:
            splitter.feed(piece)


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"event: x\ndata: {}\n\n", b"{}"),
        (b"event: x\ndata:{}\n\n", b"{}"),
        (b"data: {}\n\n", b"{}"),
        (b"data: {}\r\n\r\n", b"{}"),
        (b"event: x\r\ndata: {}\r\n\r\n", b"{}"),
        (b"event: x\rdata: 1\ndata: 2\n\n", b"1\n2"),
        (b"data: 1\rdata: 2\n\n", b"1\n2"),
        (b"data: 1\r\ndata: 2\r\n\r\n", b"1\n2"),
        (b"data: 1\n\r\n", b"1"),
        (b"data: 1\r\n\n", b"1"),
        (b"event: x\ndata: {}  \n\n", b"{}"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"event: x\ndata: a\ndata: b\n\n", b"a\nb"),
        (b": data: {}\n\n", b""),
        (b"event: data:x\ndata: {}\n\n", b"{}"),
        (b"event: ping\n\n", b""),
        (b"id: 1\nevent: x\nretry: 2\ndata: {}\nother: 3\n\n", b"{}"),
    ],
)
def test_data_of(event, data):
    assert data_of(event) == data


@given(
    st.lists(
        st.sampled_from(["event: x", "data: a", "data:b", "data", "datax: c", ": d", "id: 1", " data: e"]), max_size=4
    )
)
def test_quick_looks_at_data_see_what_slow_ones_see(lines):
    event = "".join(f"{line}\n" for line in lines).encode() + b"\n"
    said = [line[5:].removeprefix(" ") for line in lines if line.startswith("data:")]
    assert data_of(event) == "\n".join(said).encode()
