"""The admin API over real gRPC to fakes."""

from __future__ import annotations

import grpc
import pytest
from prometheus_client import REGISTRY

from penstock_status.body_limit import BodyLimit
from penstock_status.metrics import Measured
from tests.unit.status.fakes import NOW_MS, TOKEN, usage_row


async def test_projects_are_created_once_and_listed(client):
    created = await client.post("/admin/v1/projects", json={"name": "demo"})
    assert created.status_code == 201
    assert created.json()["name"] == "demo"
    assert created.json()["balance_micro"] == 0
    again = await client.post("/admin/v1/projects", json={"name": "demo"})
    assert again.status_code == 409
    assert again.headers["content-type"] == "application/problem+json"
    assert again.json()["detail"] == "project demo exists"
    assert [p["name"] for p in (await client.get("/admin/v1/projects")).json()] == ["demo"]


@pytest.mark.parametrize("name", ["", "_x", "with space", "-dash", "a" * 64, "a/b"])
async def test_names_that_cannot_be_typed_are_refused(client, name):
    answer = await client.post("/admin/v1/projects", json={"name": name})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "name"
    assert answer.json()["action"]


async def test_a_key_is_shown_once(client, admin):
    created = await client.post(
        "/admin/v1/keys",
        json={
            "project": "demo",
            "plan": "team",
            "name": "ci",
            "expires_at": "2027-01-01T00:00:00Z",
            "spend_limit_micro": 5_000_000,
            "spend_limit_period": "Month",
        },
    )
    assert created.status_code == 201
    key = created.json()
    assert key["key"] == "psk_keyaaaaaaaab_secret"
    assert (key["id"], key["prefix"], key["project"], key["plan"]) == (
        "keyaaaaaaaab",
        "psk_keyaaaaaaaab",
        "demo",
        "team",
    )
    assert key["expires_at"] == "2027-01-01T00:00:00Z"
    assert (key["spend_limit_micro"], key["spend_limit_period"]) == (5_000_000, "Month")
    assert admin.requests[-1].expires_at_ms == 1_798_761_600_000
    shown = (await client.get("/admin/v1/keys/keyaaaaaaaab")).json()
    assert "key" not in shown
    listed = (await client.get("/admin/v1/keys", params={"project": "demo"})).json()
    assert listed == [shown]
    assert (await client.get("/admin/v1/keys", params={"project": "other"})).status_code == 404


async def test_a_key_without_limits_says_none(client):
    key = (await client.post("/admin/v1/keys", json={"project": "demo", "plan": "team"})).json()
    assert key["expires_at"] is None
    assert key["spend_limit_micro"] is None
    assert key["spend_limit_period"] is None


async def test_keys_are_disabled_and_rotated(client, admin):
    await client.post("/admin/v1/keys", json={"project": "demo", "plan": "team"})
    rotated = await client.post("/admin/v1/keys/keyaaaaaaaab/rotate", json={"overlap_seconds": 60})
    assert rotated.status_code == 201
    assert rotated.json()["key"] == "psk_keyaaaaaaaac_secret"
    assert admin.requests[-1].overlap_seconds == 60
    disabled = await client.post("/admin/v1/keys/keyaaaaaaaab/disable")
    assert disabled.json()["state"] == "Disabled"
    assert admin.requests[-1].actor == "admin-token"


async def test_what_is_not_there_is_404(client):
    for path in ("keys/nope", "usage/nope", "accounts/nope"):
        answer = await client.get(f"/admin/v1/{path}")
        assert answer.status_code == 404
        assert "nope" in answer.json()["detail"]
        assert answer.json()["action"]
    unknown = await client.get("/nowhere")
    assert unknown.status_code == 404
    assert unknown.json()["type"] == "urn:penstock:problem:not-found"
    assert (await client.put("/admin/v1/projects")).status_code == 405


async def test_credit_is_added_and_listed(client):
    added = await client.post(
        "/admin/v1/credit", json={"project": "demo", "amount_micro": 7_000_000, "note": "first", "idempotency_key": "x"}
    )
    assert added.status_code == 201
    assert (added.json()["kind"], added.json()["balance_micro"]) == ("topup", 7_000_000)
    await client.post("/admin/v1/credit", json={"project": "demo", "amount_micro": -1, "kind": "adjustment"})
    listed = (await client.get("/admin/v1/credit", params={"project": "demo"})).json()
    assert listed["balance_micro"] == 6_999_999
    assert [entry["amount_micro"] for entry in listed["entries"]] == [7_000_000, -1]
    assert listed["entries"][0]["request_id"] is None


@pytest.mark.parametrize(
    ("kind", "amount"), [("topup", 0), ("topup", -5), ("refund", -5), ("expiry", 5), ("charge", 5), ("topup", 10**16)]
)
async def test_credit_that_makes_no_sense_is_refused(client, kind, amount):
    answer = await client.post("/admin/v1/credit", json={"project": "demo", "amount_micro": amount, "kind": kind})
    assert answer.status_code == 422


async def test_plans(client):
    (plan,) = (await client.get("/admin/v1/plans")).json()
    assert plan["name"] == "team"
    assert plan["limits"] == [
        {"name": "per-minute", "unit": "Requests", "amount": 600, "window_seconds": 60, "scope": "Key"}
    ]


async def test_usage_rows_carry_their_attempts(client, admin):
    admin.rows = [usage_row(1)]
    page = (await client.get("/admin/v1/usage", params={"project": "demo"})).json()
    assert page["next_page_token"] is None
    (row,) = page["rows"]
    assert row["input_tokens"] == 11
    assert row["cache_creation_input_tokens"] == 3
    assert (row["cache_write_5m_input_tokens"], row["cache_write_1h_input_tokens"]) == (2, 1)
    assert (row["state"], row["estimated"], row["cost_micro"]) == ("complete", False, 101)
    failed, served = row["attempts"]
    assert (failed["class"], failed["first_byte_ms"], failed["upstream_request_id"]) == ("Overloaded", None, None)
    assert (served["class"], served["first_byte_ms"], served["cost_micro"]) == ("Ok", 12, 101)
    assert (await client.get(f"/admin/v1/usage/{row['request_id']}")).json() == row


async def test_usage_pages_and_filters(client, admin):
    admin.rows = [usage_row(i) for i in range(5)] + [usage_row(9, state="abandoned"), usage_row(10, project="x")]
    first = (await client.get("/admin/v1/usage", params={"project": "demo", "limit": 4})).json()
    assert len(first["rows"]) == 4
    rest = await client.get(
        "/admin/v1/usage", params={"project": "demo", "limit": 4, "page_token": first["next_page_token"]}
    )
    assert len(rest.json()["rows"]) == 2
    lost = (await client.get("/admin/v1/usage", params={"state": "abandoned"})).json()["rows"]
    assert [row["state"] for row in lost] == ["abandoned"]
    late = await client.get("/admin/v1/usage", params={"since": "2026-09-21T14:13:20.009+00:00"})
    assert {row["admitted_at"] for row in late.json()["rows"]} == {
        "2026-09-21T14:13:20.009000Z",
        "2026-09-21T14:13:20.010000Z",
    }
    assert admin.requests[-1].since_ms == NOW_MS + 9
    assert (await client.get("/admin/v1/usage", params={"state": "lost"})).status_code == 422


async def test_usage_is_summed(client, admin):
    admin.rows = [usage_row(1), usage_row(2), usage_row(3, project="x")]
    summary = (await client.get("/admin/v1/usage/summary", params={"project": "demo"})).json()
    assert summary["requests"] == 2
    assert summary["input_tokens"] == 23
    assert summary["cache_creation_input_tokens"] == 6
    assert summary["cost_micro"] == 203


async def test_accounts_tell_their_cooldowns(client):
    accounts = (await client.get("/admin/v1/accounts")).json()
    assert [account["name"] for account in accounts] == ["a", "b", "c", "d", "e"]
    assert accounts[0]["ready"] is True
    assert accounts[0]["in_flight"] == 2
    (cooldown,) = accounts[1]["cooldowns"]
    assert (cooldown["class"], cooldown["model"], cooldown["operation"]) == ("Overloaded", "claude-haiku-4-5", None)
    assert cooldown["until"].endswith("Z")
    assert (await client.get("/admin/v1/accounts/b")).json()["reason"] == "Cooling"


async def test_accounts_of_every_provider(client):
    accounts = {account["name"]: account for account in (await client.get("/admin/v1/accounts")).json()}
    told = {name: (one["provider"], one["ready"], one["reason"]) for name, one in accounts.items()}
    assert told == {
        "a": ("Anthropic", True, "Ready"),
        "b": ("Anthropic", False, "Cooling"),
        "c": ("Gemini", False, "CredentialInvalid"),
        "d": ("OpenAICompatible", False, "NoModels"),
        "e": ("OpenAI", True, "Ready"),
    }
    assert accounts["c"]["cooldowns"][0]["model"] is None
    shown = (await client.get("/admin/v1/accounts/d")).json()
    assert shown["message"] == "it serves no model: write Model resources for what it has"


async def test_audit(client):
    (entry,) = (await client.get("/admin/v1/audit")).json()
    assert entry["action"] == "key.create"


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}, {"authorization": f"Bearer {TOKEN}x"}],
)
async def test_without_the_token_nothing_is_told(client, admin, headers):
    del client.headers["authorization"]
    for method, path in (("GET", "projects"), ("POST", "keys"), ("GET", "usage"), ("GET", "accounts")):
        answer = await client.request(method, f"/admin/v1/{path}", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "admin-token" in answer.json()["action"]
    assert admin.requests == []


async def test_a_value_that_was_refused_is_not_repeated(client):
    answer = await client.post("/admin/v1/keys", json={"project": "psk_secret SECRET", "plan": "team"})
    assert answer.status_code == 422
    assert "SECRET" not in answer.text


async def test_a_huge_body_is_refused_before_it_is_whole(client):
    answer = await client.post("/admin/v1/projects", content=b"x" * 70_000)
    assert answer.status_code == 413
    assert answer.json()["status"] == 413


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400, True),
        (grpc.StatusCode.FAILED_PRECONDITION, 409, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 409, True),
        (grpc.StatusCode.NOT_FOUND, 404, True),
        (grpc.StatusCode.UNAVAILABLE, 503, False),
        (grpc.StatusCode.INTERNAL, 500, False),
        (grpc.StatusCode.UNKNOWN, 500, False),
    ],
)
async def test_only_words_meant_for_callers_reach_them(client, admin, code, status, told):
    admin.fail["ListProjects"] = (code, "the words")
    answer = await client.get("/admin/v1/projects")
    assert answer.status_code == status
    assert ("the words" in answer.text) is told


async def test_a_peer_that_hangs_is_a_503_within_the_deadline(client, admin, router):
    admin.hang = True
    answer = await client.get("/admin/v1/projects")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "auth" in answer.json()["detail"]
    router.silent = True
    answer = await client.get("/admin/v1/accounts")
    assert answer.status_code == 503
    assert "router" in answer.json()["detail"]


async def test_readiness_names_who_is_missing(client, admin, router):
    del client.headers["authorization"]
    assert (await client.get("/healthz")).json() == {"alive": True}
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reason": ""})
    router.silent = True
    assert (await client.get("/readyz")).json()["reason"] == "no answer from router"
    admin.hang = True
    missing = await client.get("/readyz")
    assert missing.status_code == 503
    assert missing.json()["reason"] == "no answer from auth and router"
    await client.servers[1].end(0.0)
    assert (await client.get("/readyz")).status_code == 503


async def test_a_router_that_is_gone_is_a_503(client):
    await client.servers[1].end(0.0)
    assert (await client.get("/admin/v1/accounts")).status_code == 503


async def test_the_interface_describes_itself(client):
    document = (await client.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/admin/v1/projects",
        "/admin/v1/keys",
        "/admin/v1/keys/{key_id}",
        "/admin/v1/keys/{key_id}/disable",
        "/admin/v1/keys/{key_id}/rotate",
        "/admin/v1/credit",
        "/admin/v1/plans",
        "/admin/v1/usage",
        "/admin/v1/usage/summary",
        "/admin/v1/usage/{request_id}",
        "/admin/v1/accounts",
        "/admin/v1/accounts/{name}",
        "/admin/v1/audit",
        "/admin/v1/explain",
        "/healthz",
        "/readyz",
    }
    create = document["paths"]["/admin/v1/keys"]["post"]
    assert create["security"] == [{"HTTPBearer": []}]
    assert "application/problem+json" in create["responses"]["401"]["content"]


async def test_requests_are_counted_by_route(client):
    def count():
        labels = {"route": "keys.show", "method": "GET", "status": "404"}
        return REGISTRY.get_sample_value("penstock_status_requests_total", labels) or 0.0

    before = count()
    await client.get("/admin/v1/keys/nope")
    assert count() == before + 1


async def test_methods_that_somebody_made_up_are_counted_as_one(client):
    def count(method):
        labels = {"route": "projects.create", "method": method, "status": "405"}
        return REGISTRY.get_sample_value("penstock_status_requests_total", labels)

    before = count("other") or 0.0
    for method in ("FROB", "FROBNICATE"):
        assert (await client.request(method, "/admin/v1/projects")).status_code == 405
    assert (count("other"), count("FROB")) == (before + 2, None)


async def test_a_client_that_leaves_in_the_midst_of_its_body_is_no_failure_of_ours():
    def count(status):
        labels = {"route": "unknown", "method": "POST", "status": status}
        return REGISTRY.get_sample_value("penstock_status_requests_total", labels) or 0.0

    async def leaving():
        return {"type": "http.disconnect"}

    before = count("499"), count("500")
    await Measured(BodyLimit(None))({"type": "http", "method": "POST"}, leaving, None)
    assert (count("499"), count("500")) == (before[0] + 1, before[1])


async def test_the_api_describes_itself_without_anything_from_elsewhere(client):
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "/admin/v1/keys/{key_id}/rotate" in page.text
    assert "://" not in page.text
    assert "/docs" not in (await client.get("/openapi.json")).json()["paths"]


async def test_a_spend_limit_beyond_all_money_is_refused(client):
    new = {"project": "demo", "plan": "team", "spend_limit_micro": 10**20}
    answer = await client.post("/admin/v1/keys", json=new)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "spend_limit_micro"


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
async def test_a_key_that_ends_beyond_all_calendars_is_listed_with_the_others(client, time):
    new = {"project": "demo", "plan": "team", "expires_at": time}
    assert (await client.post("/admin/v1/keys", json=new)).status_code == 201
    assert (await client.get("/admin/v1/keys")).status_code == 200


async def test_answers_are_kept_by_nobody_on_the_way(client):
    for answer in (
        await client.post("/admin/v1/keys", json={"project": "demo", "plan": "team"}),
        await client.get("/admin/v1/keys"),
        await client.get("/admin/v1/usage"),
    ):
        assert answer.headers["cache-control"] == "no-store"


async def test_nobody_is_sent_elsewhere_with_the_token(client):
    answer = await client.get("/admin/v1/keys/")
    assert answer.status_code == 404
    assert "location" not in answer.headers
