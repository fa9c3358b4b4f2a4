"""Canonical requests, written as chat.completions."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import signatures
from penstock_edge.canonical import Extras, Request
from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.openai_chat import DIALECT
from penstock_edge.errors import ProblemError
from penstock_edge.providers.openai_chat import WIRE
from penstock_edge.providers.wire import Addressee

SERVER = Addressee("OpenAICompatible", "qwen", 0)
OPENAI = Addressee("OpenAI", "gpt", 0)
CLAUDE = Addressee("OpenAICompatible", "anthropic/Claude-opus", 0)
T = {"type": "text", "text": "hi"}
HI = {"role": "user", "content": [T]}
HINT = {"cache_control": {"type": "ephemeral"}}
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
OWN = signatures.tag("", "OpenAICompatible")


def write(body=None, to=SERVER, extras=None, *, streamed=False, messages=None):
    body = {"messages": messages or [HI], **(body or {})}
    before = copy.deepcopy(body)
    written = WIRE.write(Request(body, extras or Extras()), to, streamed=streamed)
    assert body == before
    return json.loads(written.body), written.ignored


def use(name="f", given=None, key="c1", **more):
    return {"type": "tool_use", "id": key, "name": name, "input": given or {}, **more}


def call(name="f", arguments="{}", key="c1", **more):
    return {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def result(content="r", key="c1", **more):
    return {"type": "tool_result", "tool_use_id": key, "content": content, **more}


def thinking(words, signature=""):
    return {"type": "thinking", "thinking": words, "signature": signature}


def assistant(*content):
    return {"role": "assistant", "content": list(content)}


def user(*content):
    return {"role": "user", "content": list(content)}


U = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("messages", "written", "ignored"),
    [
        ([HI], [U], []),
        ([user(T, T)], [{"role": "user", "content": [T, T]}], []),
        ([HI, assistant(T, T)], [U, {"role": "assistant", "content": "hihi"}], []),
        (
            [
                user(
                    {"type": "image", "source": PNG},
                    {"type": "image", "source": {"type": "url", "url": "https://x.example/a"}},
                    {"type": "document", "source": PDF},
                    {"type": "document", "source": PDF, "title": "a.pdf"},
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                        "title": "t",
                    },
                )
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                        {"type": "image_url", "image_url": {"url": "https://x.example/a"}},
                        {
                            "type": "file",
                            "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,AAAA"},
                        },
                        {
                            "type": "file",
                            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
                        },
                        {"type": "text", "text": "t\n\nd"},
                    ],
                }
            ],
            [],
        ),
        (
            [HI, assistant(T, use(given={"a": "é"}), use("g", key="c2")), user(result(), result([T, T], "c2"), T)],
            [
                U,
                {
                    "role": "assistant",
                    "content": "hi",
                    "tool_calls": [call(arguments='{"a":"é"}'), call("g", key="c2")],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "r"},
                {"role": "tool", "tool_call_id": "c2", "content": "hi\nhi"},
                U,
            ],
            [],
        ),
        (
            [
                HI,
                assistant(use(), use(key="c2")),
                user(result([{"type": "image", "source": PNG}, T]), result(None, "c2", is_error=True)),
            ],
            [
                U,
                {"role": "assistant", "content": None, "tool_calls": [call(), call(key="c2")]},
                {"role": "tool", "tool_call_id": "c1", "content": "hi"},
                {"role": "tool", "tool_call_id": "c2", "content": ""},
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
                },
            ],
            ["is_error"],
        ),
        # Own thinking goes back within the turn that it belongs to, not after it.
        (
            [HI, assistant(thinking("old", OWN), T), HI, assistant(thinking("new", OWN), use()), user(result())],
            [
                U,
                {"role": "assistant", "content": "hi"},
                U,
                {"role": "assistant", "content": None, "reasoning_content": "new", "tool_calls": [call()]},
                {"role": "tool", "tool_call_id": "c1", "content": "r"},
            ],
            [],
        ),
        (
            [HI, assistant(thinking("", signatures.tag("sig", "OpenAICompatible")), use(), use(key="c2"))],
            [
                U,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [call(extra_content={"google": {"thought_signature": "sig"}}), call(key="c2")],
                },
            ],
            [],
        ),
        (
            [
                HI,
                assistant(thinking("a", signatures.tag("s", "Anthropic")), thinking("b"), T),
                HI,
                assistant(thinking("c", "raw")),
            ],
            [U, {"role": "assistant", "content": "hi"}, U],
            [
                "messages.1.content.0 (thinking signed by Anthropic)",
                "messages.1.content.1 (unsigned thinking)",
                "messages.3.content.0 (unsigned thinking)",
            ],
        ),
        (
            [user({**T, **HINT}), assistant({**T, **HINT})],
            [U, {"role": "assistant", "content": "hi"}],
            ["cache_control"],
        ),
    ],
)
def test_messages(messages, written, ignored):
    body, listed = write(messages=messages)
    assert body == {"model": "qwen", "messages": written}
    assert listed == ignored


def test_what_no_chat_message_tool_or_option_has_room_for_is_named():
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}
    asked = user({**document, "context": "c", "citations": {"enabled": True}}, {**document, "context": "d"})
    cited = assistant({**T, "citations": [{"type": "page_location"}]}, {**T, "citations": None})
    tool = {"name": "f", "input_schema": {}, "input_examples": [{"a": 1}], "defer_loading": False}
    config = {"effort": "utmost", "task_budget": {"total": 5}}
    _, ignored = write({"tools": [tool, tool], "output_config": config}, messages=[asked, cited, HI])
    assert ignored == [
        "messages.content.context",
        "messages.content.citations",
        "tools.input_examples",
        "output_config.effort",
        "output_config.task_budget",
    ]
    assert write(messages=[user({**document, "citations": {"enabled": False}})])[1] == []


def test_what_stands_within_results_calls_and_images_is_named_too():
    told = user(result([{**T, "citations": [{}]}], toolset_name="t"))
    made = {"type": "image", "source": PNG, "transformations": {"oversized_image": "error"}, **HINT}
    calls = assistant(use(caller={"type": "code_execution_20260120", "tool_id": "x"}), use(caller={"type": "direct"}))
    _, ignored = write({"system": [{**T, "citations": [{}]}]}, messages=[HI, calls, told, assistant(made), HI])
    assert ignored == [
        "system.citations",
        "messages.content.caller",
        "messages.content.citations",
        "messages.content.toolset_name",
        "messages.content.transformations",
        "cache_control",
    ]


def test_a_hint_within_a_result_marks_the_result():
    messages = [HI, assistant(use()), user(result([T, {**T, **HINT}]))]
    body, ignored = write(to=CLAUDE, messages=messages)
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "hi\nhi", **HINT}]
    assert ignored == []
    assert write(messages=messages)[1] == ["cache_control"]


def test_a_schema_that_names_very_many():
    names = [f"p{number}" for number in range(30_000)]
    schema = {
        "type": "object",
        "properties": {name: {} for name in names},
        "required": [5, [], *names],
        "additionalProperties": False,
    }
    for required, strict in ((schema["required"], True), (names[1:], None), ("p0", None)):
        asked = {"output_config": {"format": {"type": "json_schema", "schema": {**schema, "required": required}}}}
        body, _ = write(asked)
        assert body["response_format"]["json_schema"].get("strict") is strict


def test_hints_go_to_claude_only():
    messages = [user({**T, **HINT}, T), assistant(use()), user(result(**HINT))]
    fields = {"system": [T, {**T, **HINT}], "tools": [{"name": "f", "input_schema": {"type": "object"}, **HINT}]}
    body, ignored = write(fields, CLAUDE, messages=messages)
    assert ignored == []
    assert body["messages"][0] == {"role": "system", "content": [T, {**T, **HINT}]}
    assert body["messages"][1] == {"role": "user", "content": [{**T, **HINT}, T]}
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "r", **HINT}]
    assert body["tools"][0]["cache_control"] == HINT["cache_control"]
    body, ignored = write(fields, SERVER, messages=messages)
    assert ignored == ["cache_control"]
    assert "cache_control" not in json.dumps(body)
    assert write(to=CLAUDE, messages=[HI, assistant(use(**HINT))])[1] == ["cache_control"]


F = {"name": "f", "input_schema": {"type": "object"}}
WRITTEN_F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("fields", "written", "ignored"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}, []),
        ({"stop_sequences": ["a"] * 6}, {"stop": ["a"] * 6}, []),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}, []),
        ({"temperature": 2.5}, {"temperature": 2}, ["temperature=2"]),
        ({"top_k": 5}, {}, ["top_k"]),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "xhigh"}, []),
        ({"output_config": {"effort": "low"}, "thinking": {"type": "adaptive"}}, {"reasoning_effort": "low"}, []),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, {}, ["thinking"]),
        ({"thinking": {"type": "disabled"}}, {}, ["thinking"]),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}, []),
        ({"metadata": {"user_id": "u" * 65}}, {}, ["metadata.user_id"]),
        ({"tools": [F]}, {"tools": [WRITTEN_F]}, []),
        (
            {"tools": [{"name": "f", "description": "d", "strict": True, "type": "custom"}]},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "f",
                            "description": "d",
                            "parameters": {"type": "object", "properties": {}},
                            "strict": True,
                        },
                    }
                ]
            },
            [],
        ),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}, F], "tool_choice": {"type": "any"}},
            {"tools": [WRITTEN_F], "tool_choice": "required"},
            ["tools.0 (web_search_20250305)"],
        ),
        ({"tools": [F], "tool_choice": {"type": "auto"}}, {"tools": [WRITTEN_F], "tool_choice": "auto"}, []),
        ({"tools": [F], "tool_choice": {"type": "none"}}, {"tools": [WRITTEN_F], "tool_choice": "none"}, []),
        (
            {"tools": [F], "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}},
            {
                "tools": [WRITTEN_F],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "parallel_tool_calls": False,
            },
            [],
        ),
        ({"tool_choice": {"type": "auto"}}, {}, []),
        ({"new_field": 1}, {}, ["new_field"]),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}},
                }
            },
            [],
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": CLOSED, "strict": True},
                }
            },
            [],
        ),
    ],
)
def test_fields(fields, written, ignored):
    body, listed = write(fields)
    assert body == {"model": "qwen", "messages": [U], **written}
    assert listed == ignored


def test_extras_and_streams():
    body, ignored = write(extras=Extras(1, 0.5, -0.5, json_object=True), streamed=True)
    assert body == {
        "model": "qwen",
        "messages": [{"role": "system", "content": "Answer with one JSON object and nothing else."}, U],
        "seed": 1,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "response_format": {"type": "json_object"},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert ignored == []


@pytest.mark.parametrize(
    ("system", "messages"),
    [
        ([{"type": "text", "text": "be brief"}], ["be brief\n\nAnswer with one JSON object and nothing else.", "hi"]),
        ([{"type": "text", "text": "give Json"}], ["give Json", "hi"]),
    ],
)
def test_a_conversation_that_wants_json_speaks_of_it(system, messages):
    body, _ = write({"system": system}, extras=Extras(json_object=True))
    assert [message["content"] for message in body["messages"]] == messages


def test_openais_own_ways():
    fields = {
        "system": [T, T],
        "max_tokens": 50,
        "metadata": {"user_id": "u"},
        "thinking": {"type": "enabled", "budget_tokens": 9000},
    }
    body, ignored = write(fields, Addressee("OpenAI", "gpt", 20))
    assert body == {
        "model": "gpt",
        "messages": [{"role": "developer", "content": "hi\n\nhi"}, U],
        "max_completion_tokens": 20,
        "prompt_cache_key": "u",
        "reasoning_effort": "high",
    }
    assert ignored == ["max_tokens=20"]
    assert write({"thinking": {"type": "disabled"}}, OPENAI)[0]["reasoning_effort"] == "none"
    assert write({"system": [T]})[0]["messages"][0] == {"role": "system", "content": "hi"}


@pytest.mark.parametrize(
    ("fields", "to", "message"),
    [
        ({"stop_sequences": ["a"] * 5}, OPENAI, "stop_sequences: at most 4 can be carried to this model"),
        ({"stop_sequences": [5]}, SERVER, "stop_sequences: Input should be a list of strings"),
        (
            {"tools": [{"type": "web_search", "name": "w"}], "tool_choice": {"type": "tool", "name": "w"}},
            SERVER,
            "tool_choice.name: this tool cannot be carried to this model",
        ),
        (
            {"tools": [{"type": "web_search", "name": "w"}], "tool_choice": {"type": "any"}},
            SERVER,
            "tool_choice: no tool that could be called can be carried to this model",
        ),
        ({"tool_choice": {"type": []}}, SERVER, "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'"),
        (
            {"messages": [user({"type": "document", "source": {"type": "url", "url": "https://x.example"}})]},
            SERVER,
            "messages.0.content.0.source: only PDFs and texts in place are carried: this source cannot be carried to this model",
        ),
        (
            {"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}})]},
            SERVER,
            "messages.0.content.0.source: this source cannot be carried to this model",
        ),
        (
            {"messages": [user(result([{"type": "search_result"}]))]},
            SERVER,
            "messages.0.content.0.content.0: this block cannot be carried to this model",
        ),
        (
            {"output_config": {"format": {"schema": 5}}},
            SERVER,
            "output_config.format.schema: Input should be a valid dictionary",
        ),
    ],
)
def test_what_cannot_be_carried(fields, to, message):
    with pytest.raises(ProblemError) as error:
        write(fields, to)
    assert error.value.problem.message == message
    assert error.value.problem.status == 400


DEEP = {"a": 1}
for _ in range(100_000):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize("value", [DEEP, {"a": 2**70}])
def test_what_no_writer_takes(value):
    request = Request({"messages": [HI, assistant(use(given=value))]})
    try:
        WIRE.write(request, SERVER, streamed=False)
    except ProblemError as error:
        problem = error.problem
    else:
        problem = None
    assert problem is None or problem.status == 400


# Round trips: what one side of this format writes, the other side reads as it was.

names = st.sampled_from(["f", "get_weather"])
words = st.text(min_size=1, max_size=5)
text_blocks = words.map(lambda word: {"type": "text", "text": word})
images = st.just({"type": "image", "source": PNG}) | st.just({"type": "document", "source": PDF, "title": "a.pdf"})
inputs = st.dictionaries(words, st.integers(-5, 5) | words | st.none(), max_size=2)


@st.composite
def requests(draw):
    turns = [{"role": "user", "content": draw(st.lists(text_blocks | images, min_size=1, max_size=3))}]
    for number in range(draw(st.integers(0, 3))):
        calls = [
            {"type": "tool_use", "id": f"c{number}_{place}", "name": draw(names), "input": draw(inputs)}
            for place in range(draw(st.integers(0, 2)))
        ]
        texts = draw(st.lists(text_blocks, min_size=0 if calls else 1, max_size=1))
        turns.append({"role": "assistant", "content": [*texts, *calls]})
        results = [{"type": "tool_result", "tool_use_id": call["id"], "content": draw(words)} for call in calls]
        others = draw(st.lists(text_blocks | images, min_size=0 if results else 1, max_size=2))
        turns.append({"role": "user", "content": [*results, *others]})
    body = {"messages": turns}
    optional = {
        "system": text_blocks.map(lambda block: [block]),
        "max_tokens": st.integers(1, 9),
        "temperature": st.sampled_from([0, 0.5, 2]),
        "top_p": st.just(0.5),
        "stop_sequences": st.lists(words, min_size=1, max_size=2),
        "metadata": st.just({"user_id": "someone"}),
        "tools": st.just([{"name": "f", "description": "d", "input_schema": CLOSED, "strict": True}]),
        "output_config": st.sampled_from([{"effort": "low"}, {"format": {"type": "json_schema", "schema": CLOSED}}]),
    }
    body |= {name: draw(optional[name]) for name in draw(st.sets(st.sampled_from(sorted(optional))))}
    if "tools" in body and draw(st.booleans()):
        body["tool_choice"] = draw(
            st.sampled_from([{"type": "any"}, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}])
        )
    return Request(body, Extras(seed=draw(st.none() | st.integers(0, 9))))


@given(requests())
def test_a_round_trip(request):
    written = WIRE.write(request, SERVER, streamed=False)
    assert written.ignored == []
    head = DIALECT.head(written.body)
    back = DIALECT.read(head, written.body, Birth("req_1", 0)).request
    if "format" in request.body.get("output_config", {}):
        assert back.extras.schema_name == "answer"
        back.extras.schema_name = ""
    assert back == request


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=4),
    lambda x: (
        st.lists(x, max_size=2) | st.dictionaries(st.sampled_from(["type", "name", "source", "x"]), x, max_size=3)
    ),
    max_leaves=5,
)


@given(junk, st.sampled_from([SERVER, OPENAI, CLAUDE]))
def test_inner_parts_that_nobody_has_looked_at(value, to):
    blocks = [
        {"type": "image", "source": value if isinstance(value, dict) else {}},
        {"type": "document", "source": value if isinstance(value, dict) else {}, "title": value},
        {"type": "tool_result", "tool_use_id": "c", "content": value, "is_error": value},
        {"type": "text", "text": "x", "cache_control": value},
    ]
    fields = [{"messages": [user(block)]} for block in blocks] + [
        {"messages": [HI, assistant({"type": "thinking", "thinking": "", "signature": value})]},
        {"messages": [HI, assistant(use(given={"x": value}))]},
        {"tools": [{"name": "f", "input_schema": value, "type": value, "strict": value, "description": value}]},
        {"output_config": {"effort": value, "format": value}},
        {"metadata": {"user_id": value}},
        {"thinking": {"type": value, "budget_tokens": value}},
        {"tools": [F], "tool_choice": {"type": value, "name": value, "disable_parallel_tool_use": value}},
        {"stop_sequences": [value]},
    ]
    for body in fields:
        try:
            WIRE.write(Request({"messages": [HI], **body}), to, streamed=False)
        except ProblemError:
            continue
