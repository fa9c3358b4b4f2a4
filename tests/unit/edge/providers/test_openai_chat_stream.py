"""Streams of chat.completions, read into canonical events, from servers that differ."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import signatures
from penstock_edge.canonical import (
    BlockStart,
    BlockStop,
    Failed,
    InputDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnreadableError,
    UsageSoFar,
)
from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.openai_chat import DIALECT
from penstock_edge.providers.openai_chat import WIRE
from penstock_edge.sse import EventSplitter
from penstock_edge.usage_report import UsageReport

OWN = signatures.tag("", "OpenAICompatible")
DONE = b"data: [DONE]\n\n"


def data(value):
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(delta=None, finish=None, choice=None, **fields):
    chosen = {"index": 0, "delta": delta or {}, "finish_reason": finish, **(choice or {})}
    return data({"id": "chatcmpl-1", "model": "m", "choices": [chosen], **fields})


def call(index=0, key=None, name=None, arguments=None, **more):
    function = {"name": name, "arguments": arguments}
    delta = {"index": index, "id": key, "function": {k: v for k, v in function.items() if v is not None}, **more}
    return chunk({"tool_calls": [{k: v for k, v in delta.items() if v is not None}]})


def events_of(*chunks, end=False):
    parser = WIRE.parser()
    events = [event for raw in chunks for event in parser.feed(raw)]
    events = [event for event in events if not isinstance(event, UsageSoFar)]
    return [*events, *parser.end()] if end else events


START = MessageStart("chatcmpl-1", "m")
ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, "stop")
TOOL_CALLS = chunk({}, "tool_calls")


def ended(reason, usage=None, stop=None):
    return [MessageDelta(reason, stop, usage or UsageReport()), MessageStop()]


def text(index, *deltas):
    return [BlockStart(index, {"type": "text", "text": ""}), *(TextDelta(index, d) for d in deltas), BlockStop(index)]


def thought(index, *deltas, signature=OWN):
    block = BlockStart(index, {"type": "thinking", "thinking": "", "signature": ""})
    return [block, *(ThinkingDelta(index, d) for d in deltas), SignatureDelta(index, signature), BlockStop(index)]


def use(index, *deltas, key="c1", name="f"):
    block = BlockStart(index, {"type": "tool_use", "id": key, "name": name, "input": {}})
    return [block, *(InputDelta(index, d) for d in deltas), BlockStop(index)]


U = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
REPORT = UsageReport(10, 5, 0, 0)


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        # OpenAI itself.
        (
            [ROLE, chunk({"content": "h"}), chunk({"content": "i"}), STOP, data({"choices": [], "usage": U}), DONE],
            [START, *text(0, "h", "i"), *ended("end_turn", REPORT)],
        ),
        # Usage in the last chunk with a choice; a comment; no role.
        (
            [b": PROCESSING\n\n", chunk({"content": "h"}), chunk({}, "length", usage=U), DONE],
            [START, *text(0, "h"), *ended("max_tokens", REPORT)],
        ),
        # Usage in every chunk, cumulative.
        (
            [chunk({"content": "h"}, usage={**U, "completion_tokens": 1}), chunk({}, "stop", usage=U), DONE],
            [START, *text(0, "h"), *ended("end_turn", REPORT)],
        ),
        # An empty answer.
        ([ROLE, STOP, DONE], [START, *ended("end_turn")]),
        # Nothing said of how it finished.
        ([chunk({"content": "h"}), DONE], [START, *text(0, "h"), *ended("end_turn")]),
        # Azure's first chunk has no choices.
        (
            [data({"id": "chatcmpl-1", "model": "m", "choices": []}), chunk({"content": "h"}), STOP, DONE],
            [START, *text(0, "h"), *ended("end_turn")],
        ),
        # Reasoning, in either of its names, or in both.
        (
            [
                chunk({"reasoning_content": "a", "content": ""}),
                chunk({"reasoning": "b"}),
                chunk({"reasoning": "c", "reasoning_content": "c"}),
                chunk({"content": "h", "reasoning_content": None}),
                STOP,
                DONE,
            ],
            [START, *thought(0, "a", "b", "c"), *text(1, "h"), *ended("end_turn")],
        ),
        # A call after a text, its id in the first delta only.
        (
            [
                ROLE,
                chunk({"content": "h"}),
                call(0, "c1", "f", ""),
                call(0, None, None, '{"a"'),
                call(0, "", "", ":1}"),
                TOOL_CALLS,
                DONE,
            ],
            [START, *text(0, "h"), *use(1, '{"a"', ":1}"), *ended("tool_use")],
        ),
        # Arguments whole, two calls in one delta; finish says stop.
        (
            [
                chunk(
                    {
                        "tool_calls": [
                            {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}},
                            {"index": 1, "id": "c2", "function": {"name": "g", "arguments": "{}"}},
                        ]
                    }
                ),
                STOP,
                DONE,
            ],
            [START, *use(0, "{}"), *use(1, "{}", key="c2", name="g"), *ended("tool_use")],
        ),
        # Interleaved calls: the second waits until the first is whole.
        (
            [
                call(0, "c1", "f", '{"a"'),
                call(1, "c2", "g", '{"b"'),
                call(0, None, None, ":{}"),
                call(1, None, None, ":2"),
                call(0, None, None, "}"),
                call(1, None, None, "}"),
                call(0, None, None, "\n"),
                TOOL_CALLS,
                DONE,
            ],
            [START, *use(0, '{"a"', ":{}", "}"), *use(1, '{"b"', ":2", "}", key="c2", name="g"), *ended("tool_use")],
        ),
        # A first call without arguments may still get some, until all is over.
        (
            [call(0, "c1", "f", ""), call(1, "c2", "g", "{}"), TOOL_CALLS, DONE],
            [START, *use(0), *use(1, "{}", key="c2", name="g"), *ended("tool_use")],
        ),
        # All calls numbered 0; none numbered; no ids; an id for every delta; a name that comes late.
        (
            [call(0, "c1", "f", "{}"), call(0, "c2", "g", "{}"), TOOL_CALLS, DONE],
            [START, *use(0, "{}"), *use(1, "{}", key="c2", name="g"), *ended("tool_use")],
        ),
        (
            [
                call(None, "c1", "f", '{"a":'),
                call(None, None, None, "1}"),
                call(None, "c2", "g", "{}"),
                TOOL_CALLS,
                DONE,
            ],
            [START, *use(0, '{"a":', "1}"), *use(1, "{}", key="c2", name="g"), *ended("tool_use")],
        ),
        (
            [call(0, None, "f", "{}"), call(1, None, "g", "{}"), TOOL_CALLS, DONE],
            [
                START,
                *use(0, "{}", key="call_chatcmpl-1_0"),
                *use(1, "{}", key="call_chatcmpl-1_1", name="g"),
                *ended("tool_use"),
            ],
        ),
        (
            [call(0, "c1", "f", "{"), call(0, "other", None, "}"), TOOL_CALLS, DONE],
            [START, *use(0, "{", "}"), *ended("tool_use")],
        ),
        (
            [call(0, "c1", None, "{"), call(0, None, "f", "}"), TOOL_CALLS, DONE],
            [START, *use(0, "{", "}"), *ended("tool_use")],
        ),
        # A call without arguments, as some servers write it.
        ([call(0, "c1", "f", "null"), TOOL_CALLS, DONE], [START, *use(0), *ended("tool_use")]),
        (
            [call(0, "c1", "f", " nu"), call(0, None, None, "ll "), call(1, "c2", "f", ' {"n"'), TOOL_CALLS, DONE],
            [START, *use(0), *use(1, ' {"n"', key="c2"), *ended("tool_use")],
        ),
        # White space between calls, a text after them.
        (
            [
                call(0, "c1", "f", "{}"),
                chunk({"content": "\n"}),
                call(1, "c2", "g", "{}"),
                chunk({"content": "h"}),
                TOOL_CALLS,
                DONE,
            ],
            [START, *use(0, "{}"), *use(1, "{}", key="c2", name="g"), *text(2, "h"), *ended("tool_use")],
        ),
        # Arguments as an object; a signature of Gemini's; thinking before.
        (
            [
                chunk({"reasoning_content": "a"}),
                call(0, "c1", "f", {"a": 1}, extra_content={"google": {"thought_signature": "sig"}}),
                TOOL_CALLS,
                DONE,
            ],
            [
                START,
                *thought(0, "a"),
                *thought(1, signature=signatures.tag("sig", "OpenAICompatible")),
                *use(2, '{"a":1}'),
                *ended("tool_use"),
            ],
        ),
        (
            [chunk({"refusal": "n"}), chunk({"refusal": "o"}), STOP, DONE],
            [START, *text(0, "n", "o"), *ended("refusal")],
        ),
        ([chunk({"content": "h"}), chunk({}, "content_filter"), DONE], [START, *text(0, "h"), *ended("refusal")]),
        (
            [chunk({"content": "h"}), chunk({}, "stop", {"stop_reason": "END"}), DONE],
            [START, *text(0, "h"), *ended("stop_sequence", stop="END")],
        ),
        # Content in parts; another choice; nothing after the end.
        (
            [
                chunk({"content": [{"type": "text", "text": "h"}]}),
                chunk({"content": "x"}, choice={"index": 1}),
                STOP,
                DONE,
                DONE,
                chunk({"content": "y"}),
            ],
            [START, *text(0, "h"), *ended("end_turn")],
        ),
    ],
)
def test_streams(chunks, events):
    assert events_of(*chunks) == events
    well_formed(events)


def well_formed(events):
    """Blocks are counted from 0 and stand one after another."""
    open_block, count = None, 0
    for event in events:
        if isinstance(event, BlockStart):
            assert open_block is None and event.index == count
            open_block, count = count, count + 1
        elif isinstance(event, BlockStop):
            assert event.index == open_block
            open_block = None
        elif hasattr(event, "index"):
            assert event.index == open_block
    assert open_block is None


def test_an_empty_reason_is_none():
    told = [chunk({"role": "assistant", "content": ""}, ""), chunk({"content": "h"}, "")]
    with pytest.raises(UnreadableError):
        events_of(*told, end=True)
    assert events_of(*told, STOP, DONE) == [START, *text(0, "h"), *ended("end_turn")]


def test_a_body_may_end_once_it_has_said_how_it_finished():
    assert events_of(chunk({"content": "h"}), STOP, end=True) == [START, *text(0, "h"), *ended("end_turn")]
    for chunks in ([], [chunk({"content": "h"})], [chunk({"content": "h"}), STOP, DONE]):
        with pytest.raises(UnreadableError):
            events_of(*chunks, end=True)


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: {\n\n"],
        [b"data: []\n\n"],
        [b"data: \xff\n\n"],
        [DONE],
        [data({"choices": 5})],
        [chunk({"tool_calls": 5})],
        [chunk({"content": "h"}), b"data: nonsense\n\n"],
        [call(0, "c1", None, "{}"), TOOL_CALLS, DONE],
        [call(0, "c1", "f", "{}"), call(1, "c2", "g", "{}"), call(0, None, None, "{}")],
        [b"data: " + b"[" * 99_999 + b"\n\n"],
    ],
)
def test_junk(chunks):
    with pytest.raises(UnreadableError):
        events_of(*chunks)


@pytest.mark.parametrize(
    ("raw", "cls", "status"),
    [
        (data({"error": {"message": "m", "type": "server_error"}}), "Unstable", 500),
        (data({"error": {"message": "m", "code": 429}}), "ThrottledNoHint", 429),
        (b"event: error\n" + data({"error": "m"}), "Unstable", 500),
        (data({"object": "error", "message": "m", "code": 400}), "ClientFault", 400),
        (chunk({}, "error"), "Overloaded", 503),
    ],
)
def test_errors_end_a_stream(raw, cls, status):
    parser = WIRE.parser()
    parser.feed(chunk({"content": "h"}))
    (event,) = parser.feed(raw)
    assert isinstance(event, Failed)
    assert (event.failure.cls, event.failure.status) == (cls, status)
    assert list(parser.feed(STOP)) == []
    with pytest.raises(UnreadableError):
        parser.end()


RECORDED = b"".join(
    [
        b": hello\r\n\r\n",
        ROLE,
        chunk({"reasoning_content": "hm\u2028"}),
        chunk({"content": "é"}).replace(b"\n", b"\r\n"),
        call(0, "c1", "f", '{"a"'),
        call(1, "c2", "g", "{}"),
        call(0, None, None, ":1}"),
        TOOL_CALLS,
        data({"choices": [], "usage": U}),
        DONE,
    ]
)


@given(st.lists(st.integers(0, len(RECORDED)), max_size=12))
def test_cut_anywhere(cuts):
    whole = [event for raw in EventSplitter().feed(RECORDED) for event in [raw]]
    expected = events_of(*whole)
    splitter = EventSplitter()
    places = [0, *sorted(cuts), len(RECORDED)]
    raws = [raw for a, b in itertools.pairwise(places) for raw in splitter.feed(RECORDED[a:b])]
    assert events_of(*raws) == expected
    assert isinstance(expected[-1], MessageStop)


def test_cut_after_every_byte():
    splitter = EventSplitter()
    raws = [raw for place in range(len(RECORDED)) for raw in splitter.feed(RECORDED[place : place + 1])]
    assert events_of(*raws) == events_of(*EventSplitter().feed(RECORDED))


@st.composite
def call_deltas(draw):
    """Return the deltas of some calls, mixed at will, and their arguments."""
    whole = draw(
        st.lists(
            st.dictionaries(st.text(max_size=2), st.integers(0, 9), min_size=1, max_size=2), min_size=1, max_size=3
        )
    )
    queues = []
    for index, value in enumerate(whole):
        raw = json.dumps(value)
        cut = draw(st.integers(1, len(raw) - 1))
        queues.append([call(index, f"c{index}", "f", raw[:cut]), call(index, None, None, raw[cut:])])
    mixed = []
    while any(queues):
        mixed.append(draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    return mixed, whole


@given(call_deltas())
def test_interleaved_calls_come_out_whole(case):
    mixed, whole = case
    events = events_of(*mixed, TOOL_CALLS, DONE)
    well_formed(events)
    said = {}
    for event in events:
        if isinstance(event, BlockStart):
            said[event.index] = [event.block["id"], ""]
        elif isinstance(event, InputDelta):
            said[event.index][1] += event.partial_json
    assert {key: json.loads(text) for key, text in said.values()} == {f"c{n}": value for n, value in enumerate(whole)}


words = st.text(min_size=1, max_size=5)


@st.composite
def streams(draw):
    events = [MessageStart("chatcmpl-1", "asked")]
    index, called = 0, False
    if draw(st.booleans()):
        events += thought(index, *draw(st.lists(words, min_size=1, max_size=2)))
        index += 1
    if draw(st.booleans()):
        events += text(index, *draw(st.lists(words, min_size=1, max_size=2)))
        index += 1
    for place in range(draw(st.integers(0, 2))):
        raw = json.dumps(draw(st.dictionaries(words, st.integers(), max_size=2)))
        cut = draw(st.integers(1, len(raw) - 1))
        events += use(index, raw[:cut], raw[cut:], key=f"c{place}")
        index, called = index + 1, True
    reason = draw(st.sampled_from(["tool_use" if called else "end_turn", "max_tokens"]))
    return [*events, *ended(reason, UsageReport(*draw(st.tuples(*[st.integers(0, 99)] * 4))))]


@given(streams())
def test_what_this_format_writes_it_reads_again(events):
    body = b'{"model":"asked","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}'
    writer = DIALECT.read(DIALECT.head(body), body, Birth("req_1", 0)).writer()
    raw = b"".join(writer.write(event) for event in events)
    back = events_of(*EventSplitter().feed(raw))
    assert back[0] == MessageStart("chatcmpl-1", "asked")
    assert back[1:-2] == events[1:-2]
    usage = back[-2].usage
    usage.output_tokens_details = None
    assert back[-2:] == events[-2:]


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda x: (
        st.lists(x, max_size=2)
        | st.dictionaries(st.sampled_from(["index", "id", "function", "name", "arguments", "x"]), x, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.lists(
        st.sampled_from(["content", "tool_calls", "reasoning", "function", "call", "usage", "finish"]), max_size=4
    ),
    st.data(),
)
def test_strange_streams_are_unreadable_at_most(kinds, draws):
    parser = WIRE.parser()
    events = []
    try:
        for kind in kinds:
            value = draws.draw(junk)
            if kind == "call":
                raw = chunk({"tool_calls": [value]})
            elif kind == "function":
                raw = call(
                    draws.draw(st.integers(0, 1)),
                    draws.draw(st.none() | st.text(max_size=1)),
                    draws.draw(st.none() | st.just("f")),
                    value,
                )
            elif kind == "usage":
                raw = data({"choices": [], "usage": value})
            elif kind == "finish":
                raw = chunk({}, value)
            else:
                raw = chunk({kind: value})
            events += parser.feed(raw)
        events += parser.feed(DONE)
    except UnreadableError:
        return
    well_formed(events if not any(isinstance(event, Failed) for event in events) else [])


def test_usage_is_heard_when_it_comes_though_the_stream_breaks_off():
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    heard = WIRE.parser().feed(chunk({"content": "h"}, usage=usage))
    assert UsageSoFar(UsageReport(10, 5, 0, 0)) in heard
