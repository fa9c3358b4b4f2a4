"""What the admin API does not do because it was asked wrongly, and what it says then."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.status.fakes import usage_row

KEY = {"project": "demo", "plan": "team"}


@pytest.mark.parametrize(
    ("path", "body", "slip"),
    [
        ("keys", {**KEY, "spend_limit_usd": 5}, "spend_limit_usd"),
        ("keys", {**KEY, "expire_at": "2027-01-01T00:00:00Z"}, "expire_at"),
        ("keys/keyaaaaaaaab/rotate", {"overlap": 3600}, "overlap"),
        ("credit", {"project": "demo", "amount_micro": 5, "idempotency": "x"}, "idempotency"),
        ("projects", {"name": "demo", "credit": 5}, "credit"),
        ("explain", {"model": "haiku", "sesion": "s"}, "sesion"),
    ],
)
async def test_a_field_that_means_nothing_is_refused(client, admin, path, body, slip):
    answer = await client.post(f"/admin/v1/{path}", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [slip]
    assert admin.requests == []


@pytest.mark.parametrize(
    "path", ["usage?projct=demo", "usage/summary?project=demo&untill=2026-01-01", "keys?projects=demo", "audit?n=1"]
)
async def test_so_is_such_a_parameter(client, admin, path):
    answer = await client.get(f"/admin/v1/{path}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["reason"] == "there is no such parameter"
    assert admin.requests == []


async def test_who_may_not_ask_hears_only_that(client):
    del client.headers["authorization"]
    assert (await client.get("/admin/v1/usage?projct=demo")).status_code == 401


async def test_a_key_cannot_end_at_the_beginning_of_time(client, admin):
    for moment in ("1970-01-01T00:00:00Z", 0, "1960-01-01"):
        await client.post("/admin/v1/keys", json={**KEY, "expires_at": moment})
        assert admin.requests[-1].expires_at_ms == 1  # Auth refuses it, as any time that is over.


async def test_a_sum_until_the_beginning_of_time_is_not_one_of_everything(client, admin):
    await client.post("/admin/v1/projects", json={"name": "demo"})
    await client.get("/admin/v1/usage/summary?project=demo&until=1970-01-01")
    assert admin.requests[-1].until_ms == 1


async def test_a_wrong_method_is_told_which_is_right(client):
    assert (await client.put("/admin/v1/keys/x/disable")).headers["allow"] == "POST"
    assert (await client.put("/admin/v1/keys")).headers["allow"] == "GET, POST"
    assert (await client.request("HEAD", "/healthz")).headers["allow"] == "GET"


async def test_what_went_wrong_is_kept_by_nobody_on_the_way(client):
    for path in ("keys/nope", "usage?limit=0", "nowhere"):
        assert (await client.get(f"/admin/v1/{path}")).headers["cache-control"] == "no-store"
    del client.headers["authorization"]
    assert (await client.get("/admin/v1/keys")).headers["cache-control"] == "no-store"


async def test_what_nobody_foresaw_is_a_problem_in_the_same_form(client, admin):
    admin.rows = [usage_row(1, state="of a later version")]
    calm = httpx.ASGITransport(client.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=calm, base_url="http://admin", headers=client.headers) as client:
        answer = await client.get("/admin/v1/usage")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "status failed (ValidationError)"


@pytest.mark.parametrize(
    ("path", "body", "again"),
    [
        ("credit", {"project": "demo", "amount_micro": 5}, False),
        ("credit", {"project": "demo", "amount_micro": 5, "idempotency_key": "x"}, True),
        ("keys", KEY, False),
        ("keys/keyaaaaaaaab/rotate", {}, False),
        ("keys/keyaaaaaaaab/disable", {}, True),
        ("projects", {"name": "demo"}, True),
    ],
)
async def test_nobody_is_told_to_do_again_what_may_have_been_done(client, admin, path, body, again):
    admin.hang = True
    answer = await client.post(f"/admin/v1/{path}", json=body)
    assert answer.status_code == 503
    assert ("retry-after" in answer.headers) is again
    assert ("Try again" in answer.json()["action"]) is again
