import json

import httpx
import pytest

from penstock_simulator.server import Simulator
from penstock_simulator.settings import SimulatorSettings

from .conftest import message


def rows(answer):
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_faults_are_put_shown_and_taken_away(http):
    put = await http.put("/simulator/faults/a", json=[{"set": {"fault": 529}, "count": 1}])
    assert put.status_code == 200
    assert put.json()[0]["account"] == "a"
    assert [(await http.post("/v1/messages", json=message())).status_code for _ in range(2)] == [529, 200]
    (shown,) = (await http.get("/simulator/faults/a")).json()
    assert (shown["seen"], shown["fired"]) == (2, 1)
    await http.put("/simulator/faults", json={"set": {"fault": "500"}})
    assert len((await http.get("/simulator/faults")).json()) == 2
    assert (await http.post("/v1/messages", json=message())).status_code == 500
    assert (await http.delete("/simulator/faults/*")).json() == []
    assert [rule["account"] for rule in (await http.get("/simulator/faults")).json()] == ["a"]
    await http.delete("/simulator/faults")
    assert (await http.get("/simulator/faults")).json() == []


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("faults/a", b"{", 400, "not JSON"),
        ("faults/a", b'{"set": {"fault": "nope"}}', 400, "fault: no such fault: 'nope' - at `$[0]`"),
        ("faults/a", b"[{}]", 400, "missing required field `set` - at `$[0]`"),
        ("faults/x", b'{"set": {}}', 404, "no such account: x"),
        ("nothing", b"", 404, "there are faults"),
    ],
)
async def test_mistakes(http, path, body, status, words):
    answer = await http.put(f"/simulator/{path}", content=body)
    assert answer.status_code == status
    assert words in str(answer.json()["error"])


async def test_records_as_json_lines(http):
    for key in ("key-a", "key-b", "key-b"):
        await http.post("/v1/messages", json=message(), headers={"x-api-key": key, "x-request-id": f"r-{key[-1]}"})
    everything = await http.get("/simulator/records")
    assert [row["seq"] for row in rows(everything)] == [1, 2, 3]
    assert everything.headers["simulator-records-dropped"] == "0"
    first = rows(everything)[0]
    assert (first["account"], first["state"], first["usage"]["output_tokens"]) == (
        "a",
        "complete",
        first["relayed_tokens"],
    )
    assert "key-a" not in everything.text
    assert [row["seq"] for row in rows(await http.get("/simulator/records?account=b"))] == [2, 3]
    assert [row["seq"] for row in rows(await http.get("/simulator/records?after=2"))] == [3]
    assert [row["seq"] for row in rows(await http.get("/simulator/records?request_id=r-a"))] == [1]
    assert rows(await http.get("/simulator/records?operation=models")) == []
    assert len(rows(await http.get("/simulator/records?format=anthropic"))) == 3
    assert rows(await http.get("/simulator/records?format=gemini")) == []
    await http.delete("/simulator/records")
    assert rows(await http.get("/simulator/records")) == []


async def test_many_records_come_whole(http, sim):
    await http.post("/v1/messages", json=message())
    (record,) = sim.records
    for _ in range(1200):
        sim.records.add(record)
    assert len(rows(await http.get("/simulator/records"))) == 1201


async def test_accounts(http, sim):
    await http.post("/v1/messages", json=message())
    assert sim.accounts["a"].most_open == 1
    a, b = (await http.get("/simulator/accounts")).json()
    assert (a["name"], a["served"], a["open"], a["most_open"]) == ("a", 1, 0, 1)
    assert (b["served"], b["remaining"]) == (0, {})
    await http.delete("/simulator/records")
    assert (await http.get("/simulator/accounts")).json()[0]["most_open"] == 0


async def test_it_can_be_off():
    async with Simulator(SimulatorSettings(control=False)) as sim, httpx.AsyncClient(base_url=sim.url) as client:
        assert (await client.get("/simulator/records")).status_code == 404
