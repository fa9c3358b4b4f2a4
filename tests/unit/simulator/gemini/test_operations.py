"""Counting, embeddings, models, and who may ask for them."""

import httpx
import pytest

from penstock_simulator.server import Simulator
from penstock_simulator.settings import AccountSettings, ModelSettings, SimulatorSettings

from .conftest import EVENTS, LIST, MODEL, UNARY, detail, path, said


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_counting(sim, http, version):
    prompt = {"parts": [{"text": "x" * 40}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}
    counted = {
        "totalTokens": 1510,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}, {"modality": "IMAGE", "tokenCount": 1500}],
    }
    whole = {"generateContentRequest": {"model": f"models/{MODEL}", "contents": [prompt]}}
    for document in ({"contents": [prompt]}, whole):
        answer = await http.post(path("countTokens", version=version), json=document)
        assert (answer.status_code, answer.json()) == (200, counted)
    assert {(record.operation, record.reported, record.concurrent) for record in sim.records} == {
        ("count_tokens", False, 0)
    }
    answer = await http.post(path("countTokens"), json=said("[[sim: fault=500]]"))
    assert answer.status_code == 500


async def test_embeddings(sim, http):
    one = {"content": {"parts": [{"text": "x" * 40}]}, "outputDimensionality": 8}
    to = path("embedContent", "gemini-embedding-001")
    first, again = [(await http.post(to, json=one)).json() for _ in range(2)]
    assert len(first["embedding"]["values"]) == 8
    assert first == again
    assert sum(value * value for value in first["embedding"]["values"]) == pytest.approx(1, abs=1e-6)
    other = {"content": {"parts": [{"text": "y"}]}}
    requests = [{"model": "models/gemini-embedding-001", **each} for each in (one, other)]
    to = path("batchEmbedContents", "gemini-embedding-001")
    batch = (await http.post(to, json={"requests": requests})).json()
    assert [len(each["values"]) for each in batch["embeddings"]] == [8, 3072]
    assert batch["embeddings"][0] == first["embedding"]
    assert batch["usageMetadata"] == {"promptTokenCount": 11}
    assert [(r.operation, r.usage.input_tokens, r.usage.output_tokens) for r in sim.records] == [
        ("embeddings", 10, 0),
        ("embeddings", 10, 0),
        ("embeddings", 11, 0),
    ]
    assert (
        (await http.post(to, json={"requests": [one]}))
        .json()["error"]["message"]
        .startswith("* BatchEmbedContentsRequest.requests[0].model: unexpected model name format")
    )
    assert (await http.post(path("embedContent", "gemini-embedding-001"), json={})).status_code == 400


EMBEDDED = {"content": {"parts": [{"text": "x"}]}}
NAMED = {"model": "models/gemini-embedding-001"}


@pytest.mark.parametrize(
    ("method", "document", "words"),
    [
        ("embedContent", {}, "* EmbedContentRequest.content: content is not specified\n"),
        ("embedContent", {"content": {"parts": []}}, "* EmbedContentRequest.content.parts: contents.parts must not be"),
        (
            "embedContent",
            EMBEDDED | {"model": "models/x"},
            "* EmbedContentRequest.model: must match the model in URL\n",
        ),
        ("embedContent", EMBEDDED | {"outputDimensionality": 0}, "* EmbedContentRequest.output_dimensionality: output"),
        ("embedContent", EMBEDDED | {"outputDimensionality": 3073}, "* EmbedContentRequest.output_dimensionality"),
        ("embedContent", EMBEDDED | {"taskType": "X"}, "Invalid value at 'task_type'"),
        ("batchEmbedContents", {}, "* BatchEmbedContentsRequest.requests: requests is not specified\n"),
        (
            "batchEmbedContents",
            {"requests": [NAMED]},
            "* BatchEmbedContentsRequest.requests[0].content: content is not",
        ),
        ("batchEmbedContents", {"requests": [NAMED | EMBEDDED] * 101}, "at most 100 requests can be in one batch\n"),
    ],
)
async def test_what_cannot_be_embedded(http, method, document, words):
    answer = await http.post(path(method, "gemini-embedding-001"), json=document)
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (400, True)


async def test_models(sim, http):
    first = (await http.get("/v1beta/models?pageSize=3")).json()
    second = (await http.get(f"/v1/models?pageSize=100&pageToken={first['nextPageToken']}")).json()
    names = [row["name"] for row in first["models"] + second["models"]]
    assert f"models/{MODEL}" in names
    assert (len(first["models"]), len(names), "nextPageToken" in second) == (3, len(set(names)), False)
    assert (await http.get(f"/v1beta/{names[0]}")).json() == first["models"][0]
    gone = await http.get("/v1beta/models/gpt-4o")
    assert (gone.status_code, gone.json()["error"]["status"]) == (404, "NOT_FOUND")
    assert {(record.operation, record.format, record.reported) for record in sim.records} == {
        ("models", "gemini", False)
    }


async def test_models_of_other_apis_are_theirs(http):
    answer = await http.get(
        "/v1/models", headers={"x-goog-api-key": "", "x-api-key": "key-a", "anthropic-version": "2023-06-01"}
    )
    assert "data" in answer.json()


@pytest.mark.parametrize(
    ("to", "version", "method"),
    [
        (path(model="gemini-9"), "v1beta", "generateContent"),
        (path(EVENTS, "gemini-9", "v1"), "v1", "generateContent"),
        (path("countTokens", "gemini-9"), "v1beta", "countTokens"),
        (path(model="gemini-embedding-001"), "v1beta", "generateContent"),
        (path("embedContent"), "v1beta", "embedContent"),
    ],
)
async def test_models_that_are_not_there_or_cannot_do_this(http, to, version, method):
    document = {"content": {"parts": [{"text": "x"}]}} if method == "embedContent" else said()
    answer = await http.post(to, json=document)
    name = to.split("/models/")[1].split(":")[0]
    assert (answer.status_code, answer.json()["error"]) == (
        404,
        {
            "code": 404,
            "message": f"models/{name} is not found for API version {version}, or is not supported for {method}. Call "
            "ListModels to see the list of available models and their supported methods.",
            "status": "NOT_FOUND",
        },
    )


async def test_added_models_and_models_that_an_account_lacks():
    account = AccountSettings(name="a", key="k", models=("gemini-9*",))
    added = (ModelSettings(id="gemini-9-x", format="gemini", context_tokens=100), ModelSettings(id="claude-9"))
    settings = SimulatorSettings(accounts=(account,), models=added)
    async with Simulator(settings) as sim, httpx.AsyncClient(base_url=sim.url, headers={"x-goog-api-key": "k"}) as http:
        assert [row["name"] for row in (await http.get("/v1beta/models")).json()["models"]] == ["models/gemini-9-x"]
        assert (await http.post(path(model="gemini-9-x"), json=said())).status_code == 200
        assert (await http.post(path(), json=said())).status_code == 404
        assert (await http.post(path(model="gemini-9-x"), json=said("x" * 400))).status_code == 200
        long = await http.post(path(model="gemini-9-x"), json=said("x" * 404))
        assert long.json()["error"]["message"] == (
            "The input token count (101) exceeds the maximum number of tokens allowed (100)."
        )


@pytest.mark.parametrize(("method", "to"), [("POST", path("predict")), ("PUT", path()), ("POST", "/v1beta/files"), ("POST", "/v2/models/x:generateContent")])  # fmt: skip
async def test_other_paths(http, method, to):
    assert (await http.request(method, to, json=said())).status_code == 404


@pytest.mark.parametrize("method", [UNARY, LIST])
@pytest.mark.parametrize(
    ("headers", "query", "status", "kind", "reason"),
    [
        ({}, "", 403, "PERMISSION_DENIED", None),
        ({"x-api-key": "key-a"}, "", 403, "PERMISSION_DENIED", None),
        ({"x-goog-api-key": "nope"}, "", 400, "INVALID_ARGUMENT", "API_KEY_INVALID"),
        ({}, "key=nope", 400, "INVALID_ARGUMENT", "API_KEY_INVALID"),
        ({"authorization": "Bearer key-a"}, "", 401, "UNAUTHENTICATED", "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        (
            {"authorization": "Bearer x", "x-goog-api-key": "key-a"},
            "",
            401,
            "UNAUTHENTICATED",
            "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        ),
        ({"x-goog-api-key": "key-a"}, "", 200, None, None),
        ({}, "key=key-b", 200, None, None),
    ],
)
async def test_credentials(sim, headers, query, status, kind, reason, method):
    async with httpx.AsyncClient(base_url=sim.url, headers=headers) as client:
        answer = await client.post(f"{path(method)}?{query}", json=said())
    assert answer.status_code == status
    (record,) = sim.records
    assert "key-b" not in record.target
    if status == 200:
        assert record.account == ("b" if query else "a")
        return
    error = (answer.json()[0] if method == LIST else answer.json())["error"]
    assert (error["code"], error["status"]) == (status, kind)
    assert (detail(error, "ErrorInfo") or {}).get("reason") == reason
    assert (record.account, record.state, record.error_type) == ("", "refused", kind)


async def test_headers_that_a_gateway_must_not_pass_on(http):
    headers = (await http.post(path(), json=said())).headers
    assert {"alt-svc", "server", "server-timing"} <= set(headers)
    assert not {"request-id", "x-request-id"} & set(headers)
