"""The happy ways, with OpenAI's own SDK; and that nothing that comes makes it fall."""

import asyncio
import copy
import json

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from penstock_simulator.accounts import Account
from penstock_simulator.behaviour import Behaviour
from penstock_simulator.connection import Request
from penstock_simulator.formats import Call
from penstock_simulator.openai.format import OpenAIFormat
from penstock_simulator.refusal import RefusalError
from penstock_simulator.server import Simulator
from penstock_simulator.settings import AccountLimits, AccountSettings, SimulatorSettings

from .conftest import CHAT, CUSTOM, EMBEDDINGS, FLAT_TOOL, RESPONSES, STRICT, TOOL, chat, respond

HI = [{"role": "user", "content": "hi [[sim: tokens=30]]"}]
STRICT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": STRICT, "strict": True}}
PRINTED = {"stream_options": {"include_usage": True}}


class Answer(BaseModel):
    city: str
    degrees: float
    rain: bool
    next: "Answer | None"


async def chatted(sdk, **fields):
    """The same request, as one body and through the stream helper."""
    whole = await sdk.chat.completions.create(**fields)
    async with sdk.chat.completions.stream(**fields, **PRINTED) as stream:
        return whole, await stream.get_final_completion()


async def responded(sdk, **fields):
    whole = await sdk.responses.create(**fields)
    async with sdk.responses.stream(**fields) as stream:
        return whole, await stream.get_final_response()


# -- Chat Completions


async def test_chat(sim, sdk):
    whole, streamed = await chatted(sdk, model="gpt-4o", messages=HI)
    for answer in (whole, streamed):
        assert (answer.choices[0].finish_reason, len(answer.choices[0].message.content)) == ("stop", 120)
        assert (answer.usage.completion_tokens, answer.usage.total_tokens) == (30, 30 + answer.usage.prompt_tokens)
        assert answer.model == "gpt-4o-2024-08-06"
    assert [record.format for record in sim.records] == ["openai_chat"] * 2
    assert [(r.operation, r.model, r.streamed) for r in sim.records] == [
        ("messages", "gpt-4o", False),
        ("messages", "gpt-4o", True),
    ]
    for record, answer in zip(sim.records, (whole, streamed), strict=True):
        assert (record.account, record.state, record.complete, record.reported) == ("a", "complete", True, True)
        assert (record.usage.input_tokens, record.usage.output_tokens) == (answer.usage.prompt_tokens, 30)
        assert (record.relayed_tokens, record.stop_reason) == (30, "stop")
    assert sim.records.select()[0].upstream_request_id == whole._request_id


async def test_a_stream_that_is_not_asked_for_usage_tells_none(sim, sdk):
    async for _ in await sdk.chat.completions.create(model="gpt-4o", messages=HI, stream=True):
        pass
    (record,) = sim.records
    assert (record.complete, record.reported, record.relayed_tokens) == (True, False, 30)


async def test_chat_tools_and_the_turn_after(sdk):
    messages = [{"role": "user", "content": "hi [[sim: tool=* tools=2]]"}]
    whole, streamed = await chatted(sdk, model="gpt-5", messages=messages, tools=[STRICT_TOOL])
    for answer in (whole, streamed):
        choice = answer.choices[0]
        assert (choice.finish_reason, choice.message.content, len(choice.message.tool_calls)) == ("tool_calls", None, 2)
        assert {call.function.name for call in choice.message.tool_calls} == {"weather"}
        assert set(json.loads(choice.message.tool_calls[1].function.arguments)) == {"city"}
    assert set(streamed.choices[0].message.tool_calls[0].function.parsed_arguments) == {"city"}
    messages.append(whole.choices[0].message)
    messages += [{"role": "tool", "tool_call_id": c.id, "content": "rain"} for c in whole.choices[0].message.tool_calls]
    after = await sdk.chat.completions.create(model="gpt-5", messages=messages, tools=[STRICT_TOOL])
    assert (after.choices[0].finish_reason, bool(after.choices[0].message.content)) == ("stop", True)


@pytest.mark.parametrize(
    "directive", ["tool=* tools=3 interleave", "tool=* done=no", "usage=none", "usage=last_choice", "pings=3 pace=1ms"]
)
async def test_the_stream_helper_takes_everything(sdk, directive):
    exact = """say="just this" tool_input='{"city": "Bern"}'""" if "tool" in directive else 'say="just this"'
    messages = [{"role": "user", "content": f"[[sim: {directive} {exact}]]"}]
    whole, streamed = await chatted(sdk, model="gpt-4o", messages=messages, tools=[TOOL], n=2)
    for one, other in zip(whole.choices, streamed.choices, strict=True):
        assert one.message.content == other.message.content == (None if "tool" in directive else "just this")
        calls = [[call.function.arguments for call in got.message.tool_calls or ()] for got in (one, other)]
        assert calls[0] == calls[1]
        assert set(calls[0]) == ({'{"city": "Bern"}'} if "tool" in directive else set())


async def test_chat_structured_output(sdk):
    fields = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
    parsed = await sdk.chat.completions.parse(**fields, response_format=Answer)
    assert isinstance(parsed.choices[0].message.parsed, Answer)
    async with sdk.chat.completions.stream(**fields, response_format=Answer) as stream:
        assert isinstance((await stream.get_final_completion()).choices[0].message.parsed, Answer)


async def test_chat_logprobs_refusal_and_choices(sdk):
    whole, streamed = await chatted(sdk, model="gpt-4o", messages=HI, logprobs=True, top_logprobs=2, n=3)
    for answer in (whole, streamed):
        assert len({choice.message.content for choice in answer.choices}) == 3
        assert [len(choice.logprobs.content) for choice in answer.choices] == [30] * 3
        assert answer.usage.completion_tokens == 90
    refused = [{"role": "user", "content": "[[sim: stop=refusal]]"}]
    for answer in await chatted(sdk, model="gpt-4o", messages=refused):
        assert answer.choices[0].message.refusal
    filtered = [{"role": "user", "content": "[[sim: stop=content_filter]]"}]
    with pytest.raises(openai.ContentFilterFinishReasonError):
        await chatted(sdk, model="gpt-4o", messages=filtered)


async def test_chat_audio(sdk):
    asked = [{"role": "user", "content": '[[sim: say="a longer text to be heard, in two pieces"]]'}]
    spoken = {"model": "gpt-4o-audio-preview", "messages": asked, "modalities": ["text", "audio"]}
    answer = await sdk.chat.completions.create(**spoken, audio={"voice": "alloy", "format": "wav"})
    assert answer.choices[0].message.audio.transcript.startswith("a longer text")
    stream = await sdk.chat.completions.create(**spoken, audio={"voice": "alloy", "format": "pcm16"}, stream=True)
    heard = [chunk.choices[0].delta.audio async for chunk in stream]
    assert "".join(one.transcript or "" for one in heard if one) == answer.choices[0].message.audio.transcript


async def test_the_models_name_may_carry_a_directive(sim, sdk, compatible):
    answer = await sdk.chat.completions.create(model="gpt-4o@say=hey", messages=HI)
    assert (answer.choices[0].message.content, answer.model) == ("hey", "gpt-4o-2024-08-06")
    answer = await compatible.chat.completions.create(model="@cf/llama@say=ho", messages=HI)
    assert (answer.choices[0].message.content, answer.model) == ("ho", "@cf/llama")
    assert [record.model for record in sim.records] == ["gpt-4o", "@cf/llama"]


async def test_a_compatible_server(sdk, compatible):
    answer = await compatible.chat.completions.create(
        model="org/llama-3:70b", messages=HI, max_tokens=5, temperature=1.5
    )
    assert (answer.model, answer.usage.completion_tokens, answer.service_tier) == ("org/llama-3:70b", 5, None)
    embedded = await compatible.embeddings.create(model="bge", input="x")
    assert (embedded.model, len(embedded.data[0].embedding)) == ("bge", 1_024)
    assert (await compatible.models.retrieve("org/llama")).id == "org/llama"
    assert "gpt-4o" in [model.id async for model in compatible.models.list()]
    named = sdk.with_options(api_key="key-d")
    assert [model.id async for model in named.models.list()] == ["llama-3"]
    with pytest.raises(openai.NotFoundError):
        await named.models.retrieve("gpt-4o")


# -- Responses


async def test_responses(sim, sdk):
    whole, streamed = await responded(sdk, model="gpt-5", input=HI, reasoning={"summary": "auto"})
    for answer in (whole, streamed):
        assert (answer.status, len(answer.output_text), [item.type for item in answer.output]) == (
            "completed",
            120,
            ["reasoning", "message"],
        )
        assert (answer.usage.output_tokens, answer.usage.output_tokens_details.reasoning_tokens) == (62, 32)
        assert len(answer.output[0].summary[0].text) == 128
    assert [record.format for record in sim.records] == ["openai_responses"] * 2
    assert [(r.usage.output_tokens, r.relayed_tokens, r.stop_reason) for r in sim.records] == [
        (62, 62, "completed")
    ] * 2


async def test_responses_tools_and_the_turn_after(sdk):
    tools = [FLAT_TOOL, {"type": "custom", "name": "patch"}]
    for name, kind in (("weather", "function_call"), ("patch", "custom_tool_call")):
        items = [{"role": "user", "content": f"[[sim: tool={name} tools=2]]"}]
        fields = {"model": "gpt-5.3-codex", "tools": tools, "store": False, "include": ["reasoning.encrypted_content"]}
        for answer in await responded(sdk, **fields, input=items):
            assert [item.type for item in answer.output] == ["reasoning", kind, kind]
        items += answer.output
        items += [{"type": f"{kind}_output", "call_id": call.call_id, "output": "ok"} for call in answer.output[1:]]
        after = await sdk.responses.create(**fields, input=items)
        assert (after.output_text != "", after.output[-1].type) == (True, "message")


async def test_reasoning_goes_back_only_to_the_account_that_it_came_from(sdk):
    answer = await sdk.responses.create(model="gpt-5", input=HI, store=False, include=["reasoning.encrypted_content"])
    items = [*HI, *answer.output, {"role": "user", "content": "and?"}]
    again = await sdk.responses.create(model="gpt-5", input=items, store=False)
    assert again.usage.input_tokens == pytest.approx(answer.usage.total_tokens + 1, abs=2)
    other = sdk.with_options(api_key="key-b")
    with pytest.raises(openai.BadRequestError) as refused:
        await other.responses.create(model="gpt-5", input=items, store=False)
    assert refused.value.code == "invalid_encrypted_content"


async def test_reasoning_that_was_neither_stored_nor_asked_for_cannot_come_back(sdk):
    answer = await sdk.responses.create(model="gpt-5", input=HI, store=False)
    with pytest.raises(openai.NotFoundError, match="Items are not persisted when `store` is set to false"):
        await sdk.responses.create(model="gpt-5", input=[*HI, *answer.output, *HI], store=False)


async def test_what_is_stored_can_be_gone_on_with(sdk):
    first = await sdk.responses.create(model="gpt-5", input="one")
    second = await sdk.responses.create(model="gpt-5", input="two", previous_response_id=first.id)
    third = await sdk.responses.create(model="gpt-5", input="three", previous_response_id=second.id)
    assert first.usage.input_tokens < second.usage.input_tokens < third.usage.input_tokens
    assert third.previous_response_id == second.id
    referred = [{"type": "item_reference", "id": item.id} for item in first.output]
    await sdk.responses.create(model="gpt-5", input=[*referred, {"role": "user", "content": "x"}])
    for client, options in ((sdk.with_options(api_key="key-b"), {}), (sdk, {"store": False})):
        kept = await sdk.responses.create(model="gpt-5", input="one", **options)
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="gpt-5", input="two", previous_response_id=kept.id)
        assert refused.value.code == "previous_response_not_found"


async def test_responses_structured_output(sdk):
    parsed = await sdk.responses.parse(model="gpt-5", input="x", text_format=Answer)
    assert isinstance(parsed.output_parsed, Answer)
    async with sdk.responses.stream(model="gpt-5", input="x", text_format=Answer) as stream:
        assert isinstance((await stream.get_final_response()).output_parsed, Answer)


async def test_the_stream_helper_takes_every_end(sdk):
    for stop, last in (("content_filter", "incomplete"), ("failed", "failed"), ("refusal", "completed")):
        async with sdk.responses.stream(model="gpt-5", input=f"[[sim: stop={stop}]]") as stream:
            events = [event async for event in stream]
        assert events[-1].type == f"response.{last}"
        assert [event.sequence_number for event in events] == list(range(len(events)))
    search = {"model": "gpt-5", "input": "[[sim: tool=web_search]]", "tools": [{"type": "web_search"}]}
    for answer in await responded(sdk, **search):
        assert [item.type for item in answer.output] == ["reasoning", "web_search_call", "message"]


async def test_input_tokens_are_not_billed(sim, sdk):
    counted = await sdk.responses.input_tokens.count(model="gpt-5", input="x" * 40, instructions="y" * 40)
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", 20)
    (record,) = sim.records
    assert (record.operation, record.format, record.reported, record.state) == (
        "count_tokens",
        "openai_responses",
        False,
        "complete",
    )
    answer = await sdk.responses.create(model="gpt-5", input="x" * 40, instructions="y" * 40)
    assert answer.usage.input_tokens == 20


# -- the others


async def test_embeddings(sim, sdk):
    packed = await sdk.embeddings.create(model="text-embedding-3-large", input=["hello", "hi"])
    plain = await sdk.embeddings.create(model="text-embedding-3-large", input=["hello", "hi"], encoding_format="float")
    assert [one.embedding for one in packed.data] == [one.embedding for one in plain.data]
    assert len(plain.data[1].embedding) == 3_072
    assert plain.usage.prompt_tokens == 3
    record = sim.records.select()[0]
    assert (record.operation, record.format, record.usage.input_tokens, record.usage.output_tokens) == (
        "embeddings",
        "openai_embeddings",
        3,
        0,
    )
    assert (record.reported, record.relayed_tokens, record.concurrent) == (True, 0, 1)


async def test_models(sim, sdk):
    models = [model async for model in sdk.models.list()]
    assert {"gpt-4o", "gpt-5.3-codex", "text-embedding-3-small"} <= {model.id for model in models}
    assert {(model.object, model.owned_by) for model in models} == {("model", "system")}
    assert (await sdk.models.retrieve("o3")).id == "o3"
    with pytest.raises(openai.NotFoundError, match="The model 'nope' does not exist"):
        await sdk.models.retrieve("nope")
    assert {(record.operation, record.format) for record in sim.records} == {("models", "openai_models")}


async def test_each_format_has_its_own_list_of_models(sim):
    async with httpx.AsyncClient(base_url=sim.url) as client:
        bearer = {"authorization": "Bearer key-a"}
        openai_list = (await client.get("/v1/models", headers=bearer)).json()
        anthropic_list = (await client.get("/v1/models", headers=bearer | {"anthropic-version": "2023-06-01"})).json()
    assert openai_list["object"] == "list"
    assert openai_list["data"][0]["object"] == "model"
    assert anthropic_list["data"][0]["type"] == "model"


async def test_cache(sim, sdk):
    long = [{"role": "system", "content": "s" * 6_000}, {"role": "user", "content": "hi"}]
    fields = {"model": "gpt-4o", "messages": long, "max_tokens": 5}
    first, second = [(await sdk.chat.completions.create(**fields)).usage for _ in range(2)]
    assert (first.prompt_tokens_details.cached_tokens, second.prompt_tokens_details.cached_tokens) == (0, 1_408)
    assert first.prompt_tokens == second.prompt_tokens
    one, two = sim.records
    assert (one.usage.cache_read_input_tokens, two.usage.cache_read_input_tokens) == (0, 1_408)
    assert two.usage.input_tokens == second.prompt_tokens - 1_408
    assert (two.usage.cache_write_5m_input_tokens, two.usage.cache_write_1h_input_tokens) == (0, 0)
    follow_up = [*long, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "and now?"}]
    usage = (await sdk.chat.completions.create(model="gpt-4o", messages=follow_up)).usage
    assert usage.prompt_tokens_details.cached_tokens == 1_408
    short = await sdk.chat.completions.create(model="gpt-4o", messages=HI)
    assert short.usage.prompt_tokens_details.cached_tokens == 0
    other = sdk.with_options(api_key="key-b")
    assert (await other.chat.completions.create(**fields)).usage.prompt_tokens_details.cached_tokens == 0
    spoken = {"model": "gpt-5", "input": "x" * 6_000}
    await sdk.responses.create(**spoken)
    assert (await sdk.responses.create(**spoken)).usage.input_tokens_details.cached_tokens == 1_408


@pytest.mark.parametrize(
    ("headers", "words", "code"),
    [
        ({}, "You didn't provide an API key", None),
        ({"authorization": "Basic key-a"}, "You didn't provide an API key", None),
        ({"x-api-key": "key-a"}, "You didn't provide an API key", None),
        ({"authorization": "Bearer nope"}, "Incorrect API key provided: ****. You can", "invalid_api_key"),
        ({"authorization": "Bearer sk-0123456789abcdefghij"}, "provided: *******************ghij.", "invalid_api_key"),
    ],
)
async def test_credentials(sim, headers, words, code):
    async with httpx.AsyncClient(base_url=sim.url, headers=headers) as client:
        for path, document in ((CHAT, chat()), (RESPONSES, respond()), (EMBEDDINGS, {"model": "x", "input": "y"})):
            answer = await client.post(path, json=document)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (401, code)
            assert words in error["message"]
            assert answer.headers["x-request-id"].startswith("req_sim_")
    assert {(record.account, record.state, record.error_type) for record in sim.records} == {
        ("", "refused", code or "invalid_request_error")
    }


async def test_headers_that_a_gateway_must_not_pass_on(sdk):
    raw = await sdk.chat.completions.with_raw_response.create(model="gpt-4o", messages=HI)
    assert {"set-cookie", "cf-ray", "openai-organization", "openai-version"} <= set(raw.headers)


@pytest.mark.parametrize("path", [CHAT, RESPONSES, EMBEDDINGS])
async def test_bodies_that_cannot_be_read(sim, path):
    async with httpx.AsyncClient(base_url=sim.url, headers={"authorization": "Bearer key-a"}) as client:
        for body in (b"", b"{", b"\xff", b"[" * 100_000):
            answer = await client.post(path, content=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["message"].startswith("We could not parse the JSON body")
        form = await client.post(path, content=b"{}", headers={"content-type": "application/x-www-form-urlencoded"})
        assert form.json()["error"]["code"] == "unsupported_content_type"
        fine = await client.post(path, json={}, headers={"content-type": "Application/JSON; charset=utf-8"})
        assert fine.json()["error"]["code"] != "unsupported_content_type"


@pytest.mark.parametrize(("method", "path"), [("GET", CHAT), ("POST", "/v1/complete"), ("DELETE", "/v1/models/gpt-4o")])
async def test_other_paths(sim, method, path):
    async with httpx.AsyncClient(base_url=sim.url, headers={"authorization": "Bearer key-a"}) as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, f"Invalid URL ({method} {path})")


async def test_prompts_longer_than_the_context(sdk):
    for fields, words in (
        ({"content": "x" * 512_004}, "However, your messages resulted in 128001 tokens."),
        (
            {"content": "x" * 511_000, "max_tokens": 500},
            "you requested 128250 tokens (127750 in the messages, 500 in the",
        ),
    ):
        messages = [{"role": "user", "content": fields.pop("content")}]
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.chat.completions.create(model="gpt-4o", messages=messages, **fields)
        assert refused.value.code == "context_length_exceeded"
        assert words in refused.value.message
    with pytest.raises(openai.BadRequestError, match="exceeds the context window") as refused:
        await sdk.responses.create(model="gpt-4o", input="x" * 512_004)
    assert refused.value.param == "input"


async def test_the_whole_context_bounds_the_output(sdk):
    messages = [{"role": "user", "content": "x" * 511_960 + "[[sim: tokens=50]]"}]
    answer = await sdk.chat.completions.create(model="gpt-4o", messages=messages)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.total_tokens == 128_000


async def test_limits_on_the_wire():
    limits = AccountLimits(requests_per_minute=2, input_tokens_per_minute=1000)
    settings = SimulatorSettings(accounts=(AccountSettings(name="a", key="k", limits=limits),))
    async with Simulator(settings) as sim:
        client = openai.AsyncOpenAI(api_key="k", base_url=f"{sim.url}/v1", max_retries=0)
        first = await client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HI)
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-limit-tokens"] == "1000"
        await client.responses.create(model="gpt-5", input="hi")
        with pytest.raises(openai.RateLimitError) as refused:
            await client.embeddings.create(model="text-embedding-3-small", input="hi")
        assert refused.value.code == "rate_limit_exceeded"
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 30
        assert int(refused.value.response.headers["retry-after-ms"]) <= 30_000
        assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "0"
        assert sim.records.select()[-1].error_type == "rate_limit_exceeded"
        await client.close()


async def test_all_formats_share_the_accounts(sim, sdk):
    long = "[[sim: latency=100ms]]"
    async with httpx.AsyncClient(base_url=sim.url) as client:
        headers = {"x-api-key": "key-a", "anthropic-version": "2023-06-01"}
        document = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": long}]}
        await asyncio.gather(
            client.post("/v1/messages", json=document, headers=headers),
            sdk.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": long}]),
            sdk.responses.create(model="gpt-5", input=long),
            sdk.embeddings.create(model="text-embedding-3-small", input=long),
            sdk.responses.input_tokens.count(model="gpt-5", input=long),
        )
    assert (sim.accounts["a"].most_open, sim.accounts["a"].open, sim.accounts["a"].served) == (4, 0, 5)


async def test_rules_meet_these_formats_too(sim, sdk):
    sim.faults.add(operation="embeddings", set={"fault": "500"})
    sim.faults.add(model="gpt-5*", set={"fault": "503"})
    await sdk.chat.completions.create(model="gpt-4o", messages=HI)
    with pytest.raises(openai.InternalServerError) as failed:
        await sdk.embeddings.create(model="text-embedding-3-small", input="x")
    assert failed.value.status_code == 500
    with pytest.raises(openai.InternalServerError) as failed:
        await sdk.responses.input_tokens.count(model="gpt-5", input="x")
    assert failed.value.status_code == 503
    await sdk.models.list()


# -- nothing makes it fall

FORMAT = OpenAIFormat(SimulatorSettings())
ACCOUNTS = [Account(AccountSettings(name=name, key=name, compatible=name == "c"), 0.0) for name in "ac"]
STARTS = [
    (
        CHAT,
        chat(messages=[*HI, {"role": "assistant", "content": [{"type": "text", "text": "x"}]}], tools=[TOOL, CUSTOM]),
    ),
    (CHAT, chat(stop=["x"], response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": STRICT}})),
    (CHAT, chat(modalities=["text"], stream=True, stream_options={}, tools=[TOOL], tool_choice="required", n=2)),
    (RESPONSES, respond(tools=[FLAT_TOOL], text={"format": {"type": "text"}}, reasoning={"effort": "low"}, include=[])),
    (RESPONSES, respond(input=[{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}])),
    (
        RESPONSES,
        respond(
            input=[
                {"type": "function_call", "call_id": "c", "name": "t", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "x"},
            ],
            tool_choice="auto",
            stream=True,
        ),
    ),
    ("/v1/responses/input_tokens", respond(instructions="x")),
    (EMBEDDINGS, {"model": "text-embedding-3-small", "input": ["x"], "dimensions": 3}),
]
JUNK = st.sampled_from(
    [None, True, 0, -1, 1e9, "", "x", [], [None], [[]], {}, {"type": "x"}, {"type": None}, [{"a": {}}]]
)


def places(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from places(one, (*path, name))


@given(st.sampled_from(STARTS), st.data())
def test_whatever_comes_is_answered(start, data):
    """One or two places of a good request hold something else: it is answered or refused, never a failure."""
    path, document = start[0], copy.deepcopy(start[1])
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.sampled_from([place for place in places(document) if place]))
        holder = document
        for step in at[:-1]:
            holder = holder[step]
        holder[at[-1]] = copy.deepcopy(data.draw(JUNK))
    request = Request("POST", path, [], json.dumps(document).encode(), oversized=False)
    draft = FORMAT.draft(request)
    account = data.draw(st.sampled_from(ACCOUNTS))
    call = Call(request, draft, account, Behaviour(tool="*"), "req_sim_1", 0.0, 0.0)
    try:
        answer = FORMAT.answer(call)
        told = answer.body or b"".join(event.data for event in answer.events)
    except RefusalError as refusal:
        told = FORMAT.error_body(refusal, "")
    assert told
