"""The happy ways, with Google's own SDK."""

import pytest
from google import genai
from google.genai import errors, types

from .conftest import MODEL, THIRD

WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            parameters=types.Schema(
                type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}, required=["city"]
            ),
        )
    ]
)


@pytest.fixture(params=["v1", "v1beta"])
async def sdk(sim, request):
    options = types.HttpOptions(base_url=sim.url, api_version=request.param)
    client = genai.Client(api_key="key-a", http_options=options)
    async with client.aio as models:
        yield models.models


def thinking(**fields):
    return types.ThinkingConfig(include_thoughts=True, **fields)


async def test_unary(sim, sdk):
    answer = await sdk.generate_content(
        model=MODEL,
        contents="hi [[sim: tokens=10]]",
        config=types.GenerateContentConfig(system_instruction="be brief", temperature=0.5, stop_sequences=["%"]),
    )
    assert len(answer.text) == 40
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    (record,) = sim.records
    usage = answer.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (8, 10, 32)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (8, 42)
    assert answer.response_id == record.upstream_request_id


async def test_stream(sim, sdk):
    config = types.GenerateContentConfig(thinking_config=thinking())
    pieces = [
        piece
        async for piece in await sdk.generate_content_stream(
            model=MODEL, contents="hi [[sim: tokens=30 text=unicode]]", config=config
        )
    ]
    parts = [part for piece in pieces for part in piece.candidates[0].content.parts]
    assert len("".join(part.text for part in parts if not part.thought)) == 120
    assert len("".join(part.text for part in parts if part.thought)) == 128
    assert pieces[-1].candidates[0].finish_reason is types.FinishReason.STOP
    assert pieces[-1].usage_metadata.total_token_count == sum((pieces[-1].usage_metadata.prompt_token_count, 30, 32))
    (record,) = sim.records
    assert (record.complete, record.usage.output_tokens) == (True, 62)


async def test_a_conversation_with_calls(sdk):
    config = types.GenerateContentConfig(tools=[WEATHER], thinking_config=thinking(thinking_level="LOW"))
    asked = types.UserContent("weather? [[sim: tool=* tools=2]]")
    first = await sdk.generate_content(model=THIRD, contents=[asked], config=config)
    assert [call.name for call in first.function_calls] == ["weather", "weather"]
    results = []
    for call in first.function_calls:
        part = types.Part.from_function_response(name=call.name, response={"sky": "blue"})
        part.function_response.id = call.id
        results.append(part)
    again = await sdk.generate_content(
        model=THIRD, contents=[asked, first.candidates[0].content, types.UserContent(results)],
        config=config,
    )  # fmt: skip
    assert again.text
    assert again.candidates[0].content.parts[-1].thought_signature


async def test_structured_output(sdk):
    config = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_schema=types.Schema(
            type=types.Type.OBJECT, properties={"n": types.Schema(type=types.Type.INTEGER)}, required=["n"]
        ),
    )
    answer = await sdk.generate_content(model=MODEL, contents="hi", config=config)
    assert isinstance(answer.parsed["n"], int)


async def test_images(sdk):
    image = types.Part.from_bytes(data=b"pixel", mime_type="image/png")
    counted = await sdk.count_tokens(model=MODEL, contents=["x" * 40, image])
    assert counted.total_tokens == 1510


async def test_models(sdk):
    names = [model.name async for model in await sdk.list(config={"page_size": 3, "query_base": True})]
    assert len(names) == len(set(names)) == 10
    assert (await sdk.get(model=MODEL)).output_token_limit == 65_536
    with pytest.raises(errors.ClientError, match="NOT_FOUND"):
        await sdk.get(model="gemini-9")


async def test_embeddings(sdk):
    answer = await sdk.embed_content(
        model="gemini-embedding-001", contents=["a", "b"], config=types.EmbedContentConfig(output_dimensionality=4)
    )
    assert [len(one.values) for one in answer.embeddings] == [4, 4]


@pytest.mark.parametrize(
    ("fault", "kind", "code", "status"),
    [
        ("429", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("503", errors.ServerError, 503, "UNAVAILABLE"),
        ("400", errors.ClientError, 400, "INVALID_ARGUMENT"),
    ],
)
async def test_errors(sdk, fault, kind, code, status):
    with pytest.raises(kind) as caught:
        await sdk.generate_content(model=MODEL, contents=f"[[sim: fault={fault} retry_after=17]]")
    assert (caught.value.code, caught.value.status) == (code, status)
    assert any(one.get("retryDelay") == "17s" for one in caught.value.details["error"].get("details", ()))


async def test_an_error_within_a_stream(sdk):
    seen = []
    with pytest.raises(errors.ServerError) as caught:
        async for piece in await sdk.generate_content_stream(
            model=MODEL, contents="[[sim: fault=stream_error_after after=2 chunks=5]]"
        ):
            seen.append(piece)
    assert (len(seen), caught.value.code, caught.value.status) == (2, 503, "UNAVAILABLE")


async def test_a_blocked_prompt(sdk):
    answer = await sdk.generate_content(model=MODEL, contents="[[sim: stop=blocked]]")
    assert (answer.candidates, answer.text) == (None, None)
    assert answer.prompt_feedback.block_reason is types.BlockedReason.PROHIBITED_CONTENT
