"""What one request used: from this edge while it is fresh, from auth afterwards."""

from __future__ import annotations

import dataclasses
import time

import grpc
import pytest

from penstock.auth.v1 import auth_pb2
from penstock_edge import request_id


class Auth:
    def __init__(self):
        self.row = None
        self.error = None
        self.asked = []

    async def GetUsage(self, request, timeout):
        self.asked.append((request, timeout))
        if self.error is not None:
            raise grpc.aio.AioRpcError(self.error, grpc.aio.Metadata(), grpc.aio.Metadata(), "x")
        return auth_pb2.GetUsageResponse(row=self.row)


@pytest.fixture
def auth():
    return Auth()


@pytest.fixture
async def edge(gateway, play, auth):
    return await gateway([play.answer()], auth=auth)


async def test_the_edge_that_served_it_answers_at_once(edge, books, auth):
    name = (await edge.post()).headers["request-id"]
    answer = await edge.http.get(f"/v1/usage/{name}")
    assert answer.status_code == 200
    assert answer.json() == {
        "request_id": name,
        "state": "complete",
        "model": "claude-sonnet-4-6",
        "estimated": False,
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "cost_micro": 105,
        "attempts": 1,
        "streamed": False,
    }
    assert auth.asked == []


async def test_it_costs_what_its_own_price_says_whatever_is_in_force_now(edge, play):
    name = (await edge.post()).headers["request-id"]
    newer = dataclasses.replace(play.price, digest="newer", input=9_000_000)
    edge.view._models = (play.model(prices=(play.price, newer)),)
    assert (await edge.http.get(f"/v1/usage/{name}")).json()["cost_micro"] == 105
    later = (await edge.post()).headers["request-id"]
    assert (await edge.http.get(f"/v1/usage/{later}")).json()["cost_micro"] == 165


async def test_an_open_request_is_pending(edge, books):
    name = (await edge.post()).headers["request-id"]
    books.finished.clear()
    answer = await edge.http.get(f"/v1/usage/{name}")
    assert (answer.status_code, answer.json()["state"], answer.headers["retry-after"]) == (202, "pending", "1")


async def test_another_projects_request_is_unknown(edge, books, play):
    name = (await edge.post()).headers["request-id"]
    books.key = play.key_facts(project="other")
    answer = await edge.http.get(f"/v1/usage/{name}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")


async def test_a_failed_request_cost_nothing(gateway, play, auth):
    edge = await gateway([play.failure(500)], auth=auth)
    name = (await edge.post()).headers["request-id"]
    shown = (await edge.http.get(f"/v1/usage/{name}")).json()
    assert (shown["state"], shown["cost_micro"], shown["attempts"]) == ("error_before_output", 0, 1)


async def test_auth_knows_the_rest(edge, auth):
    name = request_id.new()
    auth.row = auth_pb2.UsageRow(
        request_id=name,
        model="claude-sonnet-4-6",
        state="client_left",
        estimated=True,
        usage=auth_pb2.Usage(
            input_tokens=1, output_tokens=2, cache_write_5m_input_tokens=3, cache_write_1h_input_tokens=4
        ),
        cost_micro=99,
        attempts=[auth_pb2.AttemptRow()],
        streamed=True,
    )
    shown = (await edge.http.get(f"/v1/usage/{name}")).json()
    assert (shown["state"], shown["estimated"], shown["cost_micro"], shown["streamed"]) == (
        "client_left",
        True,
        99,
        True,
    )
    assert shown["cache_creation_input_tokens"] == 7
    assert auth.asked[0][0].request_id == name
    assert len(auth.asked[0][0].key_sha256) == 32


@pytest.mark.parametrize("error", [None, grpc.StatusCode.NOT_FOUND])
async def test_a_young_request_that_auth_does_not_know_is_on_its_way(edge, auth, error):
    auth.error = error
    answer = await edge.http.get(f"/v1/usage/{request_id.new()}")
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")


@pytest.mark.parametrize("error", [None, grpc.StatusCode.NOT_FOUND])
async def test_an_old_one_is_unknown(edge, auth, error):
    auth.error = error
    old = f"req_{time.time_ns() // 1_000_000 - 3_600_000:012x}70008000000000000001"
    answer = await edge.http.get(f"/v1/usage/{old}")
    assert answer.status_code == 404


async def test_without_auth_the_answer_is_pending(edge, auth):
    auth.error = grpc.StatusCode.UNAVAILABLE
    old = "req_00000000000170008000000000000001"
    assert (await edge.http.get(f"/v1/usage/{old}")).status_code == 202


@pytest.mark.parametrize("name", ["x", "req_", "req_1", "msg_sim_1"])
async def test_what_is_no_request_id_is_unknown(edge, auth, name):
    assert (await edge.http.get(f"/v1/usage/{name}")).status_code == 404
    assert auth.asked == []
