"""POST /admin/v1/explain over fakes."""

from __future__ import annotations

import json

import httpx
import pytest

from penstock.auth.v1 import admin_pb2
from penstock_routing.affinity import affinity_key
from tests.unit.status.fakes import TOKEN, FakeAdmin, FakeRouter, serving

MODEL = "claude-haiku-4-5"


@pytest.fixture
def admin():
    fake = FakeAdmin()
    for key_id, name, plan, state in (
        ("keyaaaaaaaab", "ci", "team", "Active"),
        ("keyaaaaaaaac", "twin", "strict", "Active"),
        ("k3", "twin", "gone", "Disabled"),
    ):
        fake.keys[key_id] = admin_pb2.Key(
            id=key_id, prefix=f"psk_{key_id}", project="demo", plan=plan, name=name, state=state
        )
    fake.two_plans = True
    return fake


@pytest.fixture
def router():
    return FakeRouter()


@pytest.fixture
async def ask(tmp_path, admin, router):
    async with (
        serving(tmp_path, admin, router) as (app, _),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://admin",
            headers={"authorization": f"Bearer {TOKEN}"},
        ) as client,
    ):

        async def ask(status=200, **question):
            answer = await client.post("/admin/v1/explain", json={"model": MODEL} | question)
            assert answer.status_code == status, answer.text
            return answer.json()

        ask.client = client
        yield ask


async def test_every_candidate_with_its_state_and_why(ask):
    told = await ask(model="haiku")
    assert (told["model"], told["aliases"], told["owned_by"]) == (MODEL, ["haiku"], "anthropic")
    assert [(row["account"], row["verdict"], row["why"], row["rank"]) for row in told["candidates"]] == [
        ("a", "taken", "only one left", 1),
        ("z", "next", "FailedLately", 2),
        ("b", "cooling", "Overloaded", None),
    ]
    first, unknown, last = told["candidates"]
    assert (first["score"], last["score"]) == (0.5, None)
    assert (first["soonest_ms"], last["soonest_ms"]) == (None, 9000)
    assert (first["state"]["ready"], first["state"]["in_flight"]) == (True, 2)
    assert last["state"]["cooldowns"][0]["class"] == "Overloaded"
    assert unknown["state"] is None
    assert (told["soonest_ms"], told["catalog_version"]) == (0, "v1")
    assert (told["key"], told["project"], told["affinity"], told["refusals"]) == (None, None, None, [])


@pytest.mark.parametrize("key", ["keyaaaaaaaab", "ci"])
async def test_a_key_tells_whose_it_is_and_its_session_what_the_edge_would_hash(ask, router, key):
    told = await ask(key=key, session="s1", tokens=150_000)
    expected = affinity_key("demo", "s1", (), b"")
    assert told["affinity"] == expected.hex()
    assert told["key"] == {
        "id": "keyaaaaaaaab",
        "prefix": "psk_keyaaaaaaaab",
        "name": "ci",
        "state": "Active",
        "project": "demo",
        "plan": "team",
        "models": ["*"],
        "translation": "Allow",
        "messages_translation": "Deny",
        "route_header": "Show",
    }
    request = router.asked[-1]
    assert (request.affinity, request.project, request.estimated_tokens) == (expected, "demo", 150_000)


async def test_a_project_will_do_and_nothing_will_not(ask):
    assert (await ask(project="demo", session="s1"))["affinity"] == affinity_key("demo", "s1", (), b"").hex()
    assert "project" in (await ask(400, session="s1"))["detail"]


async def test_what_is_not_there(ask):
    unknown = await ask(404, model="nothing")
    assert "no model" in unknown["detail"]
    assert "/v1/models" in unknown["action"]
    assert "no key" in (await ask(404, key="nobody"))["detail"]
    assert "2 keys" in (await ask(400, key="twin"))["detail"]
    await ask(422, model="")
    await ask(422, dialect="klingon")
    await ask(422, tokens=2**63)


async def test_a_key_that_is_given_for_its_id_is_not_repeated(ask):
    secret = "psk_4fT9secretsecretsecret"
    assert "4fT9" not in json.dumps(await ask(404, key=secret))
    assert "twin" not in json.dumps(await ask(400, key="twin"))


@pytest.mark.parametrize("field", ["model", "key", "session", "project"])
async def test_half_a_character_is_refused_or_taken_but_breaks_nothing(ask, field):
    question = f'{{"model": "{MODEL}", "project": "demo", "{field}": "\\ud800"}}'
    answer = await ask.client.post(
        "/admin/v1/explain", content=question.encode(), headers={"content-type": "application/json"}
    )
    assert answer.status_code in {200, 404, 422}


async def test_what_the_plan_refuses(ask):
    def reasons(told):
        return [each["reason"] for each in told["refusals"]]

    assert reasons(await ask(key="keyaaaaaaaac")) == []
    assert reasons(await ask(key="keyaaaaaaaac", model="gpt-5")) == ["ModelNotInPlan"]
    assert reasons(await ask(key="k3")) == ["KeyNotActive", "PlanMissing"]
    assert reasons(await ask(key="keyaaaaaaaab", model="gpt-5", dialect="anthropic")) == ["NotClaude"]
    assert reasons(await ask(key="keyaaaaaaaab", model="gpt-5", dialect="openai_chat")) == []
    assert reasons(await ask(key="keyaaaaaaaac", model="gpt-5", dialect="gemini")) == [
        "ModelNotInPlan",
        "NoTranslation",
    ]


async def test_what_each_dialect_may_reach(ask, router):
    told = await ask(key="keyaaaaaaaac", dialect="anthropic")
    reach = {each["dialect"]: each["providers"] for each in told["dialects"]}
    assert reach == {
        "anthropic": ["Anthropic"],
        "openai_chat": ["OpenAI", "OpenAICompatible"],
        "openai_responses": ["OpenAI"],
        "gemini": ["Gemini"],
        "openai_embeddings": ["OpenAI", "OpenAICompatible"],
    }
    assert list(router.asked[-1].providers) == ["Anthropic"]
    free = await ask(key="keyaaaaaaaab", dialect="anthropic", operation="count_tokens")
    assert {each["dialect"]: len(each["providers"]) for each in free["dialects"]} == {
        "anthropic": 3,
        "openai_chat": 3,
        "openai_responses": 3,
        "gemini": 3,
    }
    assert router.asked[-1].operation == "count_tokens"
    await ask(key="keyaaaaaaaab")
    assert list(router.asked[-1].providers) == []
