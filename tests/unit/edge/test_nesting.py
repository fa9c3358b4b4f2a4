"""However deep a request is nested, it is carried or refused in so many words, on every interpreter.

How deep C code may go differs between versions of CPython by a factor of ten; what Python code may, does not.
"""

from __future__ import annotations

from typing import Any, cast

import pytest

from penstock_edge.canonical import Request
from penstock_edge.crossing import cross
from penstock_edge.errors import ProblemError
from penstock_edge.exchange import Exchange
from penstock_edge.providers.wire import Addressee
from penstock_edge.providers.wires import wire_for
from penstock_edge.routes import doors
from penstock_routing import AccountFacts

DEPTHS = (50, 450, 950, 1_500, 4_000, 9_000, 20_000, 99_000)
ACCOUNTS = {
    "Anthropic": "claude-sonnet-4-6",
    "OpenAICompatible": "qwen3-coder",
    "OpenAI": "gpt-5.3-codex",
    "Gemini": "gemini-2.5-flash",
}
SPOKEN = {
    "anthropic": (
        "/v1/messages",
        (
            '{"model":"MODEL","max_tokens":9,"messages":[{"role":"user","content":"a"},'
            '{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":INPUT}]},'
            '{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"b"}]}],'
            '"tools":[{"name":"f","input_schema":SCHEMA}]}'
        ),
    ),
    "openai_chat": (
        "/v1/chat/completions",
        (
            '{"model":"MODEL","messages":[{"role":"user","content":"a"},'
            '{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":QUOTED}}]},'
            '{"role":"tool","tool_call_id":"c1","content":"b"}],'
            '"tools":[{"type":"function","function":{"name":"f","parameters":SCHEMA}}]}'
        ),
    ),
    "openai_responses": (
        "/v1/responses",
        (
            '{"model":"MODEL","store":false,"input":[{"role":"user","content":"a"},'
            '{"type":"function_call","call_id":"c1","name":"f","arguments":QUOTED},'
            '{"type":"function_call_output","call_id":"c1","output":"b"}],'
            '"tools":[{"type":"function","name":"f","parameters":SCHEMA}]}'
        ),
    ),
    "gemini": (
        "",
        (
            '{"contents":[{"role":"user","parts":[{"text":"a"}]},'
            '{"role":"model","parts":[{"functionCall":{"name":"f","args":INPUT}}]},'
            '{"role":"user","parts":[{"functionResponse":{"name":"f","response":INPUT}}]}],'
            '"tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":SCHEMA}]}]}'
        ),
    ),
}


def nested(depth: int, inner: str = "1") -> str:
    return '{"a":' * depth + inner + "}" * depth


def schema(depth: int) -> str:
    return '{"type":"object","properties":{"a":' * depth + '{"type":"string"}' + "}}" * depth


def body(spoken: str, model: str, given: str, described: str) -> bytes:
    text = SPOKEN[spoken][1].replace("MODEL", model).replace("SCHEMA", described)
    quoted = '"' + given.replace('"', '\\"') + '"'
    return text.replace("INPUT", given).replace("QUOTED", quoted).encode()


def carried(spoken: str, provider: str, depth: int, where: str) -> bool:
    """Whether a request is carried; it is refused in so many words if not."""
    model = ACCOUNTS[provider]
    given, described = (nested(depth), schema(1)) if where == "arguments" else (nested(1), schema(depth))
    door = dict(doors.fixed()).get(SPOKEN[spoken][0]) or doors.gemini_door(
        f"/v1beta/models/{model}:generateContent", b""
    )
    assert door is not None
    nobody = cast("Any", None)
    exchange = Exchange("req_1", nobody, nobody, door.dialect, door.operation)
    exchange.body = body(spoken, model, given, described)
    try:
        head = exchange.head = door.read(exchange.body)
        exchange.asked_model, exchange.streamed = head.model, head.stream
        passage = cross(exchange, AccountFacts(name="a", provider=provider))[1]
    except ProblemError as error:
        problem = error.problem
    else:
        assert passage.body
        return True
    assert problem.status == 400
    # Arguments that stand in a string are refused as no JSON object.
    assert "nested" in problem.message or "arguments: " in problem.message
    return False


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("provider", ACCOUNTS)
@pytest.mark.parametrize("spoken", SPOKEN)
@pytest.mark.parametrize("where", ["arguments", "schema"])
def test_a_nested_request_is_carried_or_refused(spoken: str, provider: str, depth: int, where: str):
    assert carried(spoken, provider, depth, where) or depth > 50


@pytest.mark.parametrize("provider", ACCOUNTS)
@pytest.mark.parametrize("spoken", SPOKEN)
def test_what_can_just_be_read_cannot_always_be_written(spoken: str, provider: str):
    """Where the one ends and the other does depends on the interpreter, and on how deep its stack is."""
    for depth in range(900, 1_000):
        carried(spoken, provider, depth, "arguments")
    for depth in range(100, 500, 4):
        carried(spoken, provider, depth, "schema")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("provider", "model"), ACCOUNTS.items())
def test_what_is_too_deep_to_be_written_is_refused(provider: str, model: str, streamed: bool):
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": deep}
    turns = [{"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "assistant", "content": [call]}]
    wire = wire_for(provider, "nobody's", model)
    with pytest.raises(ProblemError, match="nested too deeply"):
        wire.write(Request({"messages": turns}), Addressee(provider, model, 0), streamed=streamed)


@pytest.mark.parametrize(("provider", "model"), ACCOUNTS.items())
def test_half_a_surrogate_pair_is_refused(provider: str, model: str):
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": "a\ud83d"}}
    turns = [{"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "assistant", "content": [call]}]
    wire = wire_for(provider, "nobody's", model)
    with pytest.raises(ProblemError) as refusal:
        wire.write(Request({"messages": turns}), Addressee(provider, model, 0), streamed=False)
    assert refusal.value.problem.status == 400
