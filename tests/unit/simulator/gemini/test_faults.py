"""Refusals and every fault, as a reader of raw bytes meets them."""

import json
import time

import httpx
import pytest

from penstock_simulator.server import Simulator
from penstock_simulator.settings import AccountLimits, AccountSettings, SimulatorSettings
from tests.unit.simulator.conftest import until

from .conftest import (
    EVENTS,
    EVERY,
    LIST,
    MODEL,
    QUIET,
    STREAMS,
    UNARY,
    asked,
    detail,
    elements,
    error_of,
    path,
    said,
    spoken,
)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"contents": [}'])
async def test_a_body_that_is_no_json(http, body):
    answer = await http.post(path(), content=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["message"].startswith("Invalid JSON payload received.")


async def test_no_body_is_a_message_without_fields(http):
    answer = await http.post(path(), content=b"")
    assert answer.json()["error"]["message"] == "* GenerateContentRequest.contents: contents is not specified\n"


async def test_what_it_cannot_read_goes_before_what_it_does_not_know(http):
    answer = await http.post(path(model="gemini-9"), json=said(x=1))
    assert answer.json()["error"]["message"] == 'Invalid JSON payload received. Unknown name "x": Cannot find field.'


async def test_a_body_that_is_too_long():
    settings = SimulatorSettings(max_body_bytes=1000)
    headers = {"x-goog-api-key": "sim-key-a"}
    async with Simulator(settings) as sim, httpx.AsyncClient(base_url=sim.url, headers=headers) as http:
        answer = await http.post(path(), json=said("x" * 2000))
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        400,
        "Request payload size exceeds the limit: 1000 bytes.",
    )


@EVERY
@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("400", 400, "INVALID_ARGUMENT"),
        ("401", 401, "UNAUTHENTICATED"),
        ("403", 403, "PERMISSION_DENIED"),
        ("404", 404, "NOT_FOUND"),
        ("409", 409, "ABORTED"),
        ("413", 413, "INVALID_ARGUMENT"),
        ("422", 422, "FAILED_PRECONDITION"),
        ("429", 429, "RESOURCE_EXHAUSTED"),
        ("499", 499, "CANCELLED"),
        ("500", 500, "INTERNAL"),
        ("503", 503, "UNAVAILABLE"),
        ("504", 504, "DEADLINE_EXCEEDED"),
        ("520", 520, "INTERNAL"),
        ("529", 529, "UNAVAILABLE"),
        ("credit", 429, "RESOURCE_EXHAUSTED"),
    ],
)
async def test_statuses(sim, post, method, fault, status, kind):
    wire = await post(asked(f"fault={fault}"), to=path(method))
    error = error_of(wire, LIST if method == LIST and fault != "credit" else UNARY)
    assert (wire.status, error["code"], error["status"]) == (status, status, kind)
    assert "application/json" in wire.head
    (record,) = sim.records
    assert (record.status, record.fault, record.state, record.reported) == (status, fault, "refused", False)
    assert record.error_type == kind


async def test_hints_are_in_the_body_and_nowhere_else(post):
    for hint, delay in (("7", "7s"), ("date:60", "60s"), ("1.5", "1.5s")):
        wire = await post(asked(f"fault=429 retry_after={hint}"))
        error = error_of(wire)
        assert detail(error, "RetryInfo")["retryDelay"] == delay
        assert error["message"].endswith(f"Please retry in {delay}.")
        assert detail(error, "QuotaFailure")["violations"][0]["quotaDimensions"] == {
            "location": "global",
            "model": MODEL,
        }
        assert "retry-after" not in wire.head
    assert detail(error_of(await post(asked("fault=503 retry_after=9"))), "RetryInfo")["retryDelay"] == "9s"
    assert detail(error_of(await post(asked("fault=429"))), "RetryInfo") is None


async def test_words_of_errors(post):
    assert error_of(await post(asked("fault=503")))["message"] == "The model is overloaded. Please try again later."
    assert f"models/{MODEL} is not found" in error_of(await post(asked("fault=404")))["message"]
    assert "prepayment credits are depleted" in error_of(await post(asked("fault=credit")))["message"]
    own = error_of(await post(asked('fault=500 error=MINE message="so it is"')))
    assert own == {"code": 500, "message": "so it is", "status": "MINE"}
    assert error_of(await post(asked("nonsense=1")))["message"] == "[[sim]]: nonsense: no such directive"


async def test_limits_on_the_wire():
    limits = AccountLimits(requests_per_minute=1, count_tokens_per_minute=1)
    settings = SimulatorSettings(accounts=(AccountSettings(name="a", key="k", limits=limits),))
    async with Simulator(settings) as sim, httpx.AsyncClient(base_url=sim.url, headers={"x-goog-api-key": "k"}) as http:
        first, second = [await http.post(path(), json=said()) for _ in range(2)]
        counts = [await http.post(path("countTokens"), json=said()) for _ in range(2)]
    assert [first.status_code, second.status_code] == [200, 429]
    assert not [name for name in (*first.headers, *second.headers) if "ratelimit" in name or "retry" in name]
    error = second.json()["error"]
    (violation,) = detail(error, "QuotaFailure")["violations"]
    assert (violation["quotaMetric"], violation["quotaValue"]) == (
        "generativelanguage.googleapis.com/generate_content_paid_tier_requests",
        "1",
    )
    assert 50 <= int(detail(error, "RetryInfo")["retryDelay"].removesuffix("s")) <= 60
    assert f"limit: 1, model: {MODEL}\nPlease retry in " in error["message"]
    assert [answer.status_code for answer in counts] == [200, 429]


@pytest.mark.parametrize("to", [path(model=f"{MODEL}@fault=429;retry_after=date:7"), path(model=f"{MODEL}%40fault=429%3Bretry_after%3Ddate:7")])  # fmt: skip
async def test_directives_after_the_models_name(sim, post, to):
    wire = await post(said(), to=to)
    assert detail(error_of(wire), "RetryInfo")["retryDelay"] == "7s"
    assert [record.model for record in sim.records] == [MODEL]


async def test_directives_in_headers_and_rules(sim, http):
    answer = await http.post(path(), json=asked("say=prompt"), headers={"x-simulator": "say=header"})
    assert spoken([answer.json()]) == "header"
    sim.faults.add(account="a", model="gemini-*", set={"say": "rule"})
    assert spoken([(await http.post(path(), json=asked("say=prompt"))).json()]) == "rule"
    sim.faults.add(account="a", operation="embeddings", set={"fault": "503"})
    one = {"content": {"parts": [{"text": "x"}]}}
    assert (await http.post(path("embedContent", "gemini-embedding-001"), json=one)).status_code == 503


@STREAMS
@pytest.mark.parametrize(
    ("directive", "code", "kind", "deltas"),
    [
        ("fault=stream_error_before", 503, "UNAVAILABLE", 0),
        ("fault=stream_error_before pings=2", 503, "UNAVAILABLE", 0),
        ("fault=stream_error_after", 503, "UNAVAILABLE", 3),
        ("fault=stream_error_after error=api_error after=5", 500, "INTERNAL", 5),
        ("fault=stream_error_after error=RESOURCE_EXHAUSTED message=oh", 429, "RESOURCE_EXHAUSTED", 3),
        ("fault=stream_error_after error=MINE message=oh", 500, "MINE", 3),
        ("fault=stream_error_after after=999", 503, "UNAVAILABLE", 9),
    ],
)
@pytest.mark.parametrize("pace", ["", " pace=1ms"])
async def test_errors_within_a_stream(sim, post, method, directive, code, kind, deltas, pace):
    wire = await post(asked(f"{directive} chunks=9 tokens=36{pace}", **QUIET), to=path(method))
    assert (wire.status, wire.ended_well) == (200, True)
    *found, last = elements(wire)
    assert set(last) == {"error"}
    assert (last["error"]["code"], last["error"]["status"]) == (code, kind)
    assert ("message=oh" in directive) == (last["error"]["message"] == "oh")
    assert sum(bool(spoken([one])) for one in found) == deltas
    assert not any("finishReason" in candidate for one in found for candidate in one.get("candidates", ()))
    (record,) = sim.records
    assert (record.state, record.complete, record.relayed_chars) == ("broken", False, deltas * 16)
    assert record.usage.output_tokens == deltas * 4


async def test_errors_within_a_stream_are_statuses_without_one(post):
    for directive, status in (("", 503), ("error=api_error", 500), ("error=RESOURCE_EXHAUSTED", 429)):
        wire = await post(asked(f"fault=stream_error_after {directive}"))
        assert (wire.status, error_of(wire)["code"]) == (status, status)


@STREAMS
@pytest.mark.parametrize(("after", "deltas"), [(0, 0), (2, 2), (99, 4)])
async def test_a_stream_that_ends_early_ends_in_due_form(sim, post, method, after, deltas):
    wire = await post(asked(f"fault=end_early after={after} chunks=4"), to=path(method))
    assert wire.ended_well
    found = elements(wire)
    assert sum(bool(spoken([one])) for one in found) == len(found) == deltas
    assert "finishReason" not in wire.body.decode()
    assert [(record.state, record.complete) for record in sim.records] == [("broken", False)]


@STREAMS
@pytest.mark.parametrize("fault", ["cut_mid_stream", "cut_mid_chunk", "silence_mid_stream"])
async def test_a_stream_that_breaks_off(sim, post, method, fault):
    wire = await post(asked(f"fault={fault} after=2 chunks=4 tokens=16", **QUIET), to=path(method), patience=0.3)
    assert (wire.ended_well, wire.silent) == (False, fault == "silence_mid_stream")
    assert wire.body.count(b'"candidates"') == 2
    await until(lambda: sim.accounts["a"].open == 0)
    (record,) = sim.records
    assert (record.reported, record.usage.output_tokens, record.relayed_tokens) == (True, 8, 8)
    assert record.state in {"broken", "client_left"}


@pytest.mark.parametrize("fault", ["cut_mid_stream", "end_early", "cut_mid_chunk"])
async def test_a_unary_answer_that_breaks_off_tells_nothing(sim, post, fault):
    wire = await post(asked(f"fault={fault}"))
    with pytest.raises(ValueError):
        json.loads(wire.body)
    assert [(record.reported, record.state) for record in sim.records] == [(False, "broken")]


@EVERY
@pytest.mark.parametrize("fault", ["length_long", "length_short"])
async def test_wrong_lengths(sim, post, method, fault):
    wire = await post(asked(f"fault={fault}"), to=path(method))
    length = int(wire.head.split("content-length: ")[1].split("\r\n")[0])
    assert (length > len(wire.rest)) == (fault == "length_long")
    assert [record.state for record in sim.records] == ["broken"]


@EVERY
@pytest.mark.parametrize("fault", ["html", "not_json", "cut_before_headers", "cut_after_headers", "silence"])
async def test_faults_of_the_way(post, method, fault):
    wire = await post(asked(f"fault={fault}"), to=path(method), patience=0.3)
    if fault == "html":
        assert (wire.status, wire.body[:6]) == (502, b"<html>")
    elif fault == "not_json":
        assert (wire.status, wire.body[:8]) == (200, b"upstream")
    elif fault == "cut_after_headers":
        assert (wire.status, wire.rest) == (200, b"")
    else:
        assert (wire.all, wire.silent) == (b"", fault == "silence")


async def test_latency_and_pace(post):
    started = time.monotonic()
    wire = await post(asked("latency=100ms stall=50ms chunks=5 pace=20ms"), to=path(EVENTS))
    assert time.monotonic() - started >= 0.1 + 0.05 + 5 * 0.02
    assert len(elements(wire)) == 6
    assert len(wire.reads) >= 6
