"""The list of models, for both kinds of clients."""

from __future__ import annotations

import pytest

from penstock_edge.routes import gemini_models
from penstock_edge.routes.models import page
from penstock_edge.snapshot import Model


@pytest.fixture
async def edge(gateway, play):
    models = [
        play.model(),
        play.model("claude-haiku-4-5", aliases=("claude-haiku-latest",), created_at_ms=1_790_000_000_000),
        play.model("claude-old", aliases=(), created_at_ms=1, retires_at_ms=1_800_000_000_000, display_name=""),
    ]
    return await gateway([play.answer()], models=models)


async def test_rows_serve_both_clients(edge):
    answer = await edge.http.get("/v1/models")
    assert answer.status_code == 200
    assert answer.headers["request-id"].startswith("req_")
    document = answer.json()
    assert [row["id"] for row in document["data"]] == [
        "claude-haiku-4-5",
        "claude-haiku-latest",
        "claude-sonnet-4-6",
        "claude-old",
    ]
    assert (document["object"], document["has_more"]) == ("list", False)
    assert (document["first_id"], document["last_id"]) == ("claude-haiku-4-5", "claude-old")
    assert document["data"][2] == {
        "type": "model",
        "id": "claude-sonnet-4-6",
        "display_name": "Claude Sonnet 4.6",
        "created_at": "2026-02-02T02:40:00Z",
        "lifecycle": "active",
        "retires_at": None,
        "line": None,
        "capabilities": None,
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "object": "model",
        "created": 1_770_000_000,
        "owned_by": "anthropic",
    }
    assert document["data"][3]["lifecycle"] == "deprecated"
    assert document["data"][3]["display_name"] == "claude-old"


async def test_only_what_the_plan_includes(edge, books, play):
    books.key = play.key_facts(models=("claude-haiku-*",))
    assert {row["id"] for row in (await edge.http.get("/v1/models")).json()["data"]} == {
        "claude-haiku-4-5",
        "claude-haiku-latest",
    }
    assert (await edge.http.get("/v1/models/claude-sonnet-4-6")).status_code == 404


async def test_only_what_an_account_serves(gateway, play):
    edge = await gateway()
    assert (await edge.http.get("/v1/models")).json()["data"] == []


@pytest.mark.parametrize("name", ["claude-sonnet-4-6", "anthropic/claude-sonnet-4.6", "claude-haiku-latest"])
async def test_one_model_by_any_name(edge, name):
    answer = await edge.http.get(f"/v1/models/{name}")
    assert (answer.status_code, answer.json()["id"]) == (200, name)


async def test_an_unknown_model(edge):
    answer = await edge.http.get("/v1/models/none")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "²", pytest.param("1" * 5000, id="longest")])
async def test_bad_limits(edge, limit):
    answer = await edge.http.get("/v1/models", params={"limit": limit})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_pages(edge):
    first = (await edge.http.get("/v1/models?limit=2")).json()
    assert (len(first["data"]), first["has_more"]) == (2, True)
    second = (await edge.http.get("/v1/models", params={"limit": 2, "after_id": first["last_id"]})).json()
    assert [row["id"] for row in second["data"]] == ["claude-sonnet-4-6", "claude-old"]
    assert not second["has_more"]


async def test_strangers_see_nothing(edge, play):
    for path in ("/v1/models", "/v1/models/claude-sonnet-4-6", "/v1/usage/req_1"):
        answer = await edge.http.get(path, headers={"x-api-key": play.other_key})
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")


ROWS = [{"id": name} for name in "abcde"]


@pytest.mark.parametrize(
    ("limit", "after", "before", "names", "more"),
    [
        (2, None, None, "ab", True),
        (5, None, None, "abcde", False),
        (2, "b", None, "cd", True),
        (2, "d", None, "e", False),
        (2, "e", None, "", False),
        (2, None, "d", "bc", True),
        (5, None, "d", "abc", False),
        (2, "none", None, "ab", True),
        (2, None, "none", "de", True),
    ],
)
def test_paging(limit, after, before, names, more):
    got = page(ROWS, limit, after, before)
    assert ("".join(row["id"] for row in got["data"]), got["has_more"]) == (names, more)
    assert got["first_id"] == (names[0] if names else None)
    assert got["last_id"] == (names[-1] if names else None)


async def test_gemini_clients_get_their_own_form(edge, play):
    for path, headers in (
        ("/v1beta/models", {}),
        ("/v1/models", {"x-goog-api-key": play.key}),
        ("/v3/compat/v1beta/models", {}),
    ):
        answer = await edge.http.get(path, params={"pageSize": 2}, headers=headers)
        document = answer.json()
        assert [row["name"] for row in document["models"]] == ["models/claude-haiku-4-5", "models/claude-sonnet-4-6"]
        assert document["models"][1]["inputTokenLimit"] == 200_000
        rest = (await edge.http.get(path, params={"pageToken": document["nextPageToken"]}, headers=headers)).json()
        assert ([row["name"] for row in rest["models"]], rest.get("nextPageToken")) == (["models/claude-old"], None)
    for name in ("claude-haiku-latest", "models/claude-haiku-latest"):
        one = await edge.http.get(f"/v1beta/models/{name}")
        assert (one.json()["name"], one.json()["baseModelId"]) == ("models/claude-haiku-latest", "claude-haiku-4-5")


@pytest.mark.parametrize(("size", "rows"), [("", 3), ("0", 3), ("1", 1), ("99999", 3)])
@pytest.mark.parametrize("name", ["pageSize", "page_size"])
async def test_a_page_of_gemini_models_is_as_long_as_google_would_make_it(edge, name, size, rows):
    assert len((await edge.http.get(f"/v1beta/models?{name}={size}")).json()["models"]) == rows


@pytest.mark.parametrize(("most", "methods"), [(1, []), (2, ["generateContent", "countTokens"])])
def test_a_model_without_output_is_not_said_to_generate(most, methods):
    model = Model("e", (), "openai", "E", 10, most, 0, 0, (), (), {})
    assert gemini_models.row(model, "e")["supportedGenerationMethods"] == methods


@pytest.mark.parametrize("path", ["/v1beta/models?pageSize=-1", "/v1beta/models?pageToken=x", "/v1beta/models/none"])
async def test_gemini_clients_get_their_own_errors(edge, path):
    answer = await edge.http.get(path)
    assert answer.status_code in {400, 404}
    assert answer.json()["error"]["code"] == answer.status_code
    assert answer.json()["error"]["status"] in {"INVALID_ARGUMENT", "NOT_FOUND"}


@pytest.mark.parametrize("path", ["/v1/models/none", "/v1/models?pageSize=x"])
async def test_a_gemini_client_is_known_by_its_header_too(edge, play, path):
    answer = await edge.http.get(path, headers={"x-goog-api-key": play.key})
    assert answer.json()["error"]["code"] == answer.status_code


async def test_a_key_may_stand_in_the_query_of_a_gemini_path(edge, play):
    del edge.http.headers["x-api-key"]
    assert (await edge.http.get("/v1beta/models", params={"key": play.key})).status_code == 200
    assert (await edge.http.get("/v1beta/models", params={"key": play.other_key})).status_code == 401


@pytest.mark.parametrize("base", ["/v3/compat", "/v3/compat/v1"])
async def test_the_list_is_there_under_compat_too(edge, base):
    assert (await edge.http.get(f"{base}/models")).json() == (await edge.http.get("/v1/models")).json()
    assert (await edge.http.get(f"{base}/models/anthropic/claude-sonnet-4.6")).status_code == 200
