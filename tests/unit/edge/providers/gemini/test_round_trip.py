"""There and back: what the dialect writes the wire reads, and what the wire writes the dialect reads."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import canonical as c
from penstock_edge import signatures
from penstock_edge.canonical import Extras, Message, Request
from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.gemini import DIALECT
from penstock_edge.providers.gemini import WIRE
from penstock_edge.providers.wire import Addressee
from penstock_edge.sse import EventSplitter
from penstock_edge.usage_report import OutputDetails, UsageReport

BIRTH = Birth("req_" + "1" * 32, 0)
TO = Addressee("Gemini", "gemini-2.5-flash", 0)
SHOWN = json.dumps(
    {"contents": {"parts": {"text": "a"}}, "generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
).encode()

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_-]{0,10}", fullmatch=True)
arguments = st.dictionaries(words, st.none() | st.booleans() | st.integers(-(2**60), 2**60) | words, max_size=3)
base64s = st.binary(min_size=3, max_size=9).map(lambda b: __import__("base64").b64encode(b).decode())


def head(raw, **how):
    return DIALECT.head(raw, "m", **{"streamed": False, "counting": False, "sse": True, **how})


def read(raw):
    return DIALECT.read(head(raw), raw, BIRTH)


# Requests

texts = st.builds(lambda t: {"type": "text", "text": t}, words)
images = st.builds(
    lambda d: {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": d}}, base64s
)
pdfs = st.builds(
    lambda d: {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": d}}, base64s
)
links = st.just({"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}})


@st.composite
def conversations(draw):
    """Messages that Google's format can say whole."""
    messages = [{"role": "user", "content": draw(st.lists(texts | images | pdfs | links, min_size=1, max_size=3))}]
    count = 0
    for _ in range(draw(st.integers(0, 3))):
        said = [draw(texts)] if draw(st.booleans()) else []
        calls = []
        for _ in range(draw(st.integers(0 if said else 1, 3))):
            count += 1
            calls.append({"type": "tool_use", "id": f"id_{count}", "name": draw(names), "input": draw(arguments)})
        messages.append({"role": "assistant", "content": said + calls})
        results = [_result(draw, call) for call in draw(st.permutations(calls))]
        extra = draw(st.lists(texts | images, min_size=0 if results else 1, max_size=2))
        messages.append({"role": "user", "content": results + extra})
    return messages


def _result(draw, call):
    content = draw(words.filter(lambda t: not t.lstrip().startswith("{")) | st.just('{"a":1,"b":[true]}'))
    failed = {"is_error": True} if draw(st.booleans()) else {}
    return {"type": "tool_result", "tool_use_id": call["id"], "content": content, **failed}


bodies = st.fixed_dictionaries(
    {"messages": conversations()},
    optional={
        "system": st.lists(texts, min_size=1, max_size=2),
        "max_tokens": st.integers(1, 10**6),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(1, 100),
        "stop_sequences": st.lists(words, min_size=1, max_size=3),
        "thinking": st.integers(1, 24_576).map(lambda n: {"type": "enabled", "budget_tokens": n}),
        "output_config": st.just({"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}}}),
    },
)
extras = st.builds(Extras, st.none() | st.integers(0, 2**31 - 1))
schemas = st.sampled_from(
    [{"type": "object", "properties": {}}, {"type": "object", "properties": {"a": {"type": "null"}}}]
)


@given(bodies, extras, st.lists(names, unique=True, max_size=3), schemas, st.data())
def test_requests(body, more, tools, schema, data):
    if tools:
        # Together with tools a shape is only asked for in words.
        body.pop("output_config", None)
        body["tools"] = [{"name": name, "description": "d", "input_schema": schema} for name in tools]
        choices = [None, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": tools[0]}]
        choice = data.draw(st.sampled_from(choices))
        if choice is not None:
            body["tool_choice"] = choice
    written = WIRE.write(Request(body, more), TO, streamed=False)
    assert written.ignored == []
    found = read(written.body).request
    assert found.body == body
    assert found.extras == more
    assert found.ignored == []


# Answers

tags = base64s.map(lambda s: signatures.tag(s, "Gemini"))
blocks = st.one_of(
    texts,
    st.builds(lambda t, s: {"type": "thinking", "thinking": t, "signature": s}, words, tags),
    st.builds(
        lambda i, n, a: {"type": "tool_use", "id": i, "name": n, "input": a},
        st.uuids().map(lambda u: f"toolu_{u.hex}"),
        names,
        arguments,
    ),
)


def _apart(content):
    """Leave out what would run together: a text right behind a text."""
    kept = []
    for block in content:
        if not kept or (kept[-1]["type"], block["type"]) != ("text", "text"):
            kept.append(block)
    return kept


answers = st.lists(blocks, min_size=1, max_size=5).map(_apart)
usages = st.builds(
    lambda fresh, cached, said, thought: UsageReport(fresh, said + thought, None, cached, None, OutputDetails(thought)),
    *[st.integers(0, 10**6)] * 4,
)


def upstreams(content):
    """What our own answer's reader sees: signatures of this provider get no second tag there."""
    return [
        {**block, "signature": signatures.tag(block["signature"], "Gemini")} if block["type"] == "thinking" else block
        for block in content
    ]


def reason_of(content, reason):
    called = any(block["type"] == "tool_use" for block in content)
    return "tool_use" if called and reason == "end_turn" else reason


@given(answers, st.sampled_from(["end_turn", "max_tokens", "refusal"]), usages)
def test_whole_answers(content, reason, usage):
    raw = read(SHOWN).answer(Message("x", "y", content, reason, usage=usage))
    found = WIRE.parse(raw)
    assert found.content == upstreams(content)
    assert found.stop_reason == reason_of(content, reason)
    assert found.usage == usage
    assert (found.id, found.model) == ("1" * 32, "m")


def events(content, reason, usage):
    yield c.MessageStart("x", "y")
    for index, block in enumerate(content):
        if block["type"] == "text":
            yield c.BlockStart(index, {"type": "text", "text": ""})
            yield from (c.TextDelta(index, letter) for letter in block["text"])
        elif block["type"] == "thinking":
            yield c.BlockStart(index, {"type": "thinking", "thinking": "", "signature": ""})
            yield from (c.ThinkingDelta(index, letter) for letter in block["thinking"])
            yield c.SignatureDelta(index, block["signature"])
        else:
            yield c.BlockStart(index, {**block, "input": {}})
            yield c.InputDelta(index, json.dumps(block["input"]))
        yield c.BlockStop(index)
    yield c.MessageDelta(reason, usage=usage)
    yield c.MessageStop()


def gathered(found):
    """Put the events of a stream together again, seeing that they come in canonical order."""
    content, last, open_index = [], None, None
    assert isinstance(found[0], c.MessageStart)
    assert isinstance(found[-1], c.MessageStop)
    for event in found[1:-1]:
        match event:
            case c.BlockStart():
                assert (open_index, event.index) == (None, len(content))
                open_index = event.index
                content.append(dict(event.block))
            case c.TextDelta():
                content[event.index]["text"] += event.text
            case c.ThinkingDelta():
                content[event.index]["thinking"] += event.thinking
            case c.SignatureDelta():
                content[event.index]["signature"] = event.signature
            case c.InputDelta():
                content[event.index]["input"] = json.loads(event.partial_json)
            case c.BlockStop():
                assert open_index == event.index
                open_index = None
            case c.MessageDelta():
                last = event
        if isinstance(event, c.TextDelta | c.ThinkingDelta | c.SignatureDelta | c.InputDelta):
            assert event.index == open_index
    assert open_index is None
    return content, last


@given(answers, st.sampled_from(["end_turn", "max_tokens"]), usages, st.integers(1, 200))
def test_streams(content, reason, usage, size):
    writer = read(SHOWN).writer()
    raw = b"".join(writer.write(event) for event in events(content, reason, usage))
    splitter, parser = EventSplitter(), WIRE.parser()
    cut = [one for i in range(0, len(raw), size) for one in splitter.feed(raw[i : i + size])]
    found, last = gathered([*(event for one in cut for event in parser.feed(one)), *parser.end()])
    assert found == upstreams(content)
    assert last.stop_reason == reason_of(content, reason)
    assert last.usage == usage


@given(answers)
def test_an_answer_comes_back_as_the_next_request(content):
    """A client that keeps Google's answers as they are loses nothing of anybody's thinking."""
    answer = json.loads(read(SHOWN).answer(Message("x", "y", content, "end_turn")))
    again = {"contents": [{"parts": {"text": "a"}}, answer["candidates"][0]["content"]]}
    assert read(json.dumps(again).encode()).request.body["messages"][1]["content"] == content


@given(answers)
def test_a_stream_comes_back_as_the_next_request(content):
    """SDKs keep a streamed answer as it came, one content for each chunk."""
    writer = read(SHOWN).writer()
    raw = b"".join(writer.write(event) for event in events(content, "end_turn", UsageReport()))
    chunks = [json.loads(one[6:]) for one in EventSplitter().feed(raw)]
    again = {"contents": [{"parts": {"text": "a"}}, *(chunk["candidates"][0]["content"] for chunk in chunks)]}
    assert read(json.dumps(again).encode()).request.body["messages"][1]["content"] == content
