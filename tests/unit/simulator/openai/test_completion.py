"""A chat completion on the wire: the order of its chunks, and that they tell what one body tells."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.behaviour import Behaviour
from penstock_simulator.openai.completion import Completion, finish_reason
from penstock_simulator.openai.reply import compose
from penstock_simulator.openai.usage import Counts

from .conftest import CITY, CUSTOM, TOOL, chat, read_chat

COUNTED = {"stream": True, "stream_options": {"include_usage": True}}


def make(how=None, *, compatible=False, **fields):
    asked = read_chat(chat(**fields), compatible=compatible)
    how = how or Behaviour()
    replies = [compose(asked, how, identity=f"x{i}", seed=5 + i, default_tokens=48) for i in range(asked.choices)]
    return Completion("chatcmpl-1", 123, asked, replies, Counts.of(10, 4, replies))


def unary(how=None, **fields):
    return json.loads(make(how, **fields).unary(how or Behaviour()))


def stream(how=None, **fields):
    found = list(make(how, **fields).stream(how or Behaviour()))
    data = [event.data.removeprefix(b"data: ").removesuffix(b"\n\n") for event in found]
    return found, [json.loads(one) if one.startswith(b"{") else one.decode() for one in data]


def test_the_order_of_a_text():
    found, chunks = stream(Behaviour(tokens=12), **COUNTED)
    assert chunks.pop() == "[DONE]"
    assert [event.phase for event in found] == [0, 1, 1, 2, 2, 2]
    assert {(c["id"], c["object"], c["created"], c["model"]) for c in chunks} == {
        ("chatcmpl-1", "chat.completion.chunk", 123, "gpt-4o-2024-08-06")
    }
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert all(set(delta) == {"content"} for delta in deltas[1:-1])
    assert deltas[-1] == {}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * 3 + ["stop"]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 4
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 4


def test_usage_is_told_only_when_asked_for():
    found, chunks = stream(stream=True)
    assert all("usage" not in chunk for chunk in chunks[:-1])
    assert [event.usage for event in found] == [None] * len(found)


def test_usage_in_the_record_is_the_uncached_input_and_all_output():
    found, _ = stream(Behaviour(tokens=10), model="gpt-5", **COUNTED)
    usage = found[-2].usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (6, 4, 42)
    assert (usage.cache_write_5m_input_tokens, usage.cache_write_1h_input_tokens) == (0, 0)


def test_tool_calls():
    _, chunks = stream(Behaviour(tool="*", tools=2), tools=[TOOL], **COUNTED)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk != "[DONE]" and chunk["choices"]]
    assert deltas[0] == {"role": "assistant", "content": None, "refusal": None}
    calls = [delta["tool_calls"][0] for delta in deltas if delta.get("tool_calls")]
    assert [call["index"] for call in calls] == [0, 0, 1, 1]
    assert [set(call) for call in calls] == [{"index", "id", "type", "function"}, {"index", "function"}] * 2
    assert calls[0]["function"] == {"name": "weather", "arguments": ""}
    assert json.loads(calls[1]["function"]["arguments"])
    assert chunks[-3]["choices"][0]["finish_reason"] == "tool_calls"


def test_calls_may_take_turns():
    how = Behaviour(tool="*", tools=3, chunks=2, interleave=True)
    _, chunks = stream(how, tools=[TOOL], stream=True)
    indexes = [c["choices"][0]["delta"]["tool_calls"][0]["index"] for c in chunks[1:-2]]
    assert indexes == [0, 1, 2, 0, 1, 2, 0, 1, 2]


def test_custom_tools_and_functions_of_old():
    message = unary(Behaviour(tool="*", say="x"), tools=[CUSTOM])["choices"][0]["message"]
    assert message["tool_calls"][0]["custom"] == {"name": "patch", "input": "x"}
    _, chunks = stream(Behaviour(tool="*", say="x"), tools=[CUSTOM], stream=True)
    assert chunks[1]["choices"][0]["delta"]["tool_calls"][0]["custom"] == {"name": "patch", "input": ""}
    old = {"functions": [{"name": "f", "parameters": CITY}], "function_call": {"name": "f"}}
    choice = unary(**old)["choices"][0]
    assert (choice["finish_reason"], choice["message"]["function_call"]["name"]) == ("function_call", "f")
    assert "tool_calls" not in choice["message"]
    _, chunks = stream(**old, stream=True)
    assert chunks[1]["choices"][0]["delta"] == {"function_call": {"name": "f", "arguments": ""}}
    assert chunks[-2]["choices"][0]["finish_reason"] == "function_call"


def test_a_refusal():
    message = unary(Behaviour(stop="refusal"))["choices"][0]["message"]
    assert message["content"] is None
    assert message["refusal"]
    _, chunks = stream(Behaviour(stop="refusal"), stream=True)
    assert "".join(c["choices"][0]["delta"].get("refusal") or "" for c in chunks[:-1]) == message["refusal"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("how", [Behaviour(usage="none"), Behaviour(usage="last_choice")])
def test_usage_as_compatible_servers_tell_it(how):
    found, chunks = stream(how, **COUNTED)
    assert all(chunk["choices"] for chunk in chunks[:-1])
    told = how.usage == "last_choice"
    assert [bool(chunk.get("usage")) for chunk in chunks[:-1]] == [False] * (len(chunks) - 2) + [told]
    assert [event.usage is not None for event in found][-2:] == [told, False]
    assert ("usage" in unary(how)) == told


def test_usage_on_the_way():
    found, chunks = stream(Behaviour(usage_updates=2, tokens=30), stream=True)
    told = [chunk["usage"]["completion_tokens"] for chunk in chunks[:-1] if "usage" in chunk]
    assert told == [6, 12]
    assert [event.usage.output_tokens for event in found if event.usage] == [6, 12]


def test_a_stream_without_its_end_mark():
    _, chunks = stream(Behaviour(done=False), stream=True)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_pings_are_comments():
    found, _ = stream(Behaviour(pings=2), stream=True)
    assert [event.data for event in found[1:3]] == [b": ping\n\n"] * 2


def test_padding():
    _, chunks = stream(Behaviour(chunks=3), stream=True)
    sizes = {len(c["choices"][0]["delta"].get("content") or "") + len(c["obfuscation"]) for c in chunks[1:-1]}
    assert {size % 16 for size in sizes} == {0}
    _, plain = stream(stream=True, stream_options={"include_obfuscation": False})
    assert not any("obfuscation" in chunk for chunk in plain)


def test_a_compatible_server_shows_its_reasoning_and_less_else():
    how = Behaviour(thinking=10, tokens=5)
    body = unary(how, compatible=True, model="qwen")
    assert len(body["choices"][0]["message"]["reasoning_content"]) == 40
    assert (body["model"], "service_tier" in body, body["usage"]["completion_tokens"]) == ("qwen", False, 15)
    found, chunks = stream(how, compatible=True, model="qwen", stream=True)
    assert "".join(c["choices"][0]["delta"].get("reasoning_content", "") for c in chunks[:-1])
    assert sum(event.chars for event in found) == 60
    assert not any("obfuscation" in chunk for chunk in chunks[:-1])


def test_logprobs():
    asked = {"logprobs": True, "top_logprobs": 2}
    told = unary(Behaviour(say="grüß dich"), **asked)["choices"][0]["logprobs"]
    assert [one["token"] for one in told["content"]] == ["grüß", " dic", "h"]
    assert bytes(told["content"][0]["bytes"]).decode() == "grüß"
    assert [len(one["top_logprobs"]) for one in told["content"]] == [2, 2, 2]
    first = told["content"][0]
    assert first["top_logprobs"][0]["logprob"] == first["logprob"] > first["top_logprobs"][1]["logprob"]
    _, chunks = stream(Behaviour(say="grüß dich"), **asked, stream=True)
    assert [t["token"] for c in chunks[1:-2] for t in c["choices"][0]["logprobs"]["content"]] == ["grüß", " dic", "h"]
    assert unary()["choices"][0]["logprobs"] is None


def test_audio():
    spoken = {"model": "gpt-4o-audio-preview", "modalities": ["text", "audio"]}
    message = unary(Behaviour(say="hey"), **spoken, audio={"voice": "v", "format": "wav"})["choices"][0]["message"]
    assert (message["content"], message["audio"]["transcript"]) == (None, "hey")
    assert message["audio"]["data"].startswith("UklGR")
    _, chunks = stream(Behaviour(say="hey"), **spoken, audio={"voice": "v", "format": "pcm16"}, stream=True)
    heard = [chunk["choices"][0]["delta"]["audio"] for chunk in chunks[1:-2]]
    assert [set(one) for one in heard] == [{"id", "transcript"}, {"id", "data"}, {"id", "expires_at"}]


def test_finish_reasons_are_the_replies():
    assert [finish_reason(reply) for reply in make(Behaviour(stop="content_filter"), n=2).replies] == [
        "content_filter"
    ] * 2


def gathered(chunks):
    """Put chunks together as a client does."""
    choices = {}
    for chunk in chunks:
        for one in chunk["choices"]:
            choice = choices.setdefault(one["index"], {"content": "", "refusal": "", "calls": {}, "finish": None})
            delta = one["delta"]
            choice["content"] += delta.get("content") or ""
            choice["refusal"] += delta.get("refusal") or ""
            for call in delta.get("tool_calls", ()):
                held = choice["calls"].setdefault(call["index"], {"arguments": ""})
                held |= {name: call[name] for name in ("id",) if name in call}
                held["arguments"] += call["function"]["arguments"]
            choice["finish"] = one["finish_reason"] or choice["finish"]
    return choices


HOWS = st.builds(
    Behaviour,
    tokens=st.integers(-1, 200),
    chunks=st.integers(0, 9),
    tool=st.sampled_from(["", "*"]),
    tools=st.integers(1, 3),
    tool_bytes=st.integers(0, 300),
    text=st.sampled_from(["ascii", "unicode"]),
    stop=st.sampled_from(["", "refusal", "content_filter"]),
    interleave=st.booleans(),
    pings=st.integers(0, 2),
    usage_updates=st.integers(0, 3),
)


@given(HOWS, st.integers(1, 3), st.integers(1, 100), st.sampled_from(["gpt-4o", "gpt-5"]))
def test_stream_and_unary_tell_the_same(how, n, most, model):
    fields = {"n": n, "max_completion_tokens": most, "model": model, "tools": [TOOL]}
    body = unary(how, **fields)
    found, chunks = stream(how, **fields, **COUNTED)
    chunks = [chunk for chunk in chunks if isinstance(chunk, dict)]
    assert found[-1].data == b"data: [DONE]\n\n"
    assert all(one.phase <= other.phase for one, other in pairwise(found))
    choices = gathered(chunks)
    assert sorted(choices) == list(range(n))
    for index, choice in choices.items():
        whole = body["choices"][index]
        calls = [(call["id"], call["function"]["arguments"]) for call in whole["message"].get("tool_calls", ())]
        assert [(call["id"], call["arguments"]) for _, call in sorted(choice["calls"].items())] == calls
        assert choice["content"] == (whole["message"]["content"] or "")
        assert choice["refusal"] == (whole["message"]["refusal"] or "")
        assert choice["finish"] == whole["finish_reason"]
    assert chunks[-1]["usage"] == body["usage"]
    assert body["usage"]["completion_tokens"] <= most * n
    reasoning = body["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert -(-sum(event.chars for event in found) // 4) + reasoning == pytest.approx(
        body["usage"]["completion_tokens"], abs=n
    )
