"""The books balance although an edge and auth are killed again and again, clients leave and upstreams fail."""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import json
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.client import Exchange, exchange, payload
from tests.postgres import postgres_server
from tests.stack import Gateway, Simulator, plan, running, wait_until

REQUESTS = int(os.environ.get("PENSTOCK_BOOKS_REQUESTS", "3000"))
KILLS_EACH = 5
AT_ONCE = 140
IN_FLIGHT_AT_KILL = 32
# A request stays open between two attempts while it waits for an account with room.
WAIT_FOR_ACCOUNT_SECONDS = 2.5
# So late may an edge be with an upstream's first byte, or with the record of a request's end; a busy machine adds to it.
LATE_SECONDS = 4.0
# In which the edges have enough in flight for a kill, and everything is in the books, on any machine.
PATIENCE_SECONDS = 180.0
TOP_UP_USD = "1000.00"
# USD per million tokens of claude-haiku-4-5, in micro-USD per million: input, output, cache write 5 m and 1 h, cache read.
PRICES = (1_000_000, 5_000_000, 1_250_000, 2_000_000, 100_000)
TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_write_5m_input_tokens",
    "cache_write_1h_input_tokens",
    "cache_read_input_tokens",
)
FAULTS: list[dict[str, Any]] = [
    {"probability": 0.02, "set": {"fault": "500"}},
    {"probability": 0.01, "set": {"fault": "429", "retry_after": "1"}},
    {"probability": 0.02, "set": {"fault": "stream_error_before", "error": "api_error"}},
    {"probability": 0.02, "set": {"fault": "stream_error_after", "error": "api_error", "after": 8}},
    {"probability": 0.02, "set": {"fault": "cut_mid_stream", "after": 10}},
    {"probability": 0.01, "set": {"fault": "cut_mid_stream", "after": 0}},
    {"probability": 0.01, "set": {"fault": "cut_mid_chunk", "after": 5}},
    {"probability": 0.02, "set": {"fault": "cut_before_headers"}},
    {"probability": 0.02, "set": {"fault": "cut_after_headers"}},
    {"probability": 0.01, "set": {"fault": "not_json"}},
    {"probability": 0.01, "set": {"fault": "length_long"}},
    {"probability": 1.0, "count": 1, "skip": 200, "set": {"fault": "529"}},
]


@dataclass
class Story:
    """What happened: every client's view, and when whom was killed."""

    exchanges: list[Exchange] = field(default_factory=list)
    edge_kills: list[float] = field(default_factory=list)
    auth_kills: int = 0
    done: bool = False

    def served(self) -> int:
        """Requests that got as far as an answer."""
        return sum(1 for one in self.exchanges if one.status == 200)

    def streaming(self) -> int:
        """Streams past their first content now."""
        return sum(1 for one in self.exchanges if one.output_at and not one.ended)


def work(rng: random.Random) -> tuple[bytes, float | None]:
    """One request's body and when its client leaves, if it does."""
    leaves = rng.uniform(0.0, 1.6) if rng.random() < 0.08 else None
    if rng.random() < 0.25:
        directive = f"latency={rng.randint(5, 900)}ms tokens={rng.randint(1, 300)}"
        return payload(directive), leaves
    chunks = rng.randint(15, 40)
    directive = (
        f"latency={rng.randint(1, 200)}ms pace={rng.randint(20, 50)}ms chunks={chunks} tokens={rng.randint(40, 300)}"
    )
    if rng.random() < 0.2:
        directive += " text=unicode split=1"
    return payload(directive, stream=True), leaves


async def clients(gateway: Gateway, key: str, story: Story, rng: random.Random) -> None:
    """Keep `AT_ONCE` requests under way until enough were sent and all kills are done."""

    async def one() -> None:
        while not story.done or story.served() < REQUESTS:
            body, leaves = work(rng)
            seen = Exchange()
            story.exchanges.append(seen)
            await exchange(gateway.port, key, body, leave_after=leaves, seen=seen)
            if seen.status not in {200, 0}:
                await asyncio.sleep(0.2)
            elif seen.status == 0 and not seen.left:
                await asyncio.sleep(0.05)

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


def connections_of(pid: int, port: int) -> int:
    """Client connections that a process serves on `port` (IPv4, established)."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01" and row[9] in inodes)


async def killer(gateway: Gateway, story: Story, rng: random.Random) -> None:
    """Kill edges and auth in random order at random moments, each time with enough in flight."""
    targets = ["edge"] * KILLS_EACH + ["auth"] * KILLS_EACH
    rng.shuffle(targets)
    for target in targets:
        await asyncio.sleep(rng.uniform(0.8, 2.5))
        name = f"edge-{rng.randrange(2)}" if target == "edge" else "auth-0"
        served_by = [name] if target == "edge" else ["edge-0", "edge-1"]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            open_now = min(connections_of(gateway.pid(edge), gateway.port) for edge in served_by)
            # Streams are three quarters of all, so half of an edge's requests are past output when half of all are.
            under_way = sum(1 for one in story.exchanges if not one.ended)
            if open_now >= IN_FLIGHT_AT_KILL and story.streaming() * 2 >= under_way:
                break
            assert time.monotonic() < deadline, f"never {IN_FLIGHT_AT_KILL} in flight at {name}, half past output"
            await asyncio.sleep(0.05)
        if target == "edge":
            story.edge_kills.append(time.time())
        else:
            story.auth_kills += 1
        old = gateway.kill(name)
        await asyncio.to_thread(gateway.await_restart, name, old)
        await asyncio.to_thread(wait_until, "the gateway is ready again", gateway.ready)
    story.done = True


async def play(gateway: Gateway, key: str, rng: random.Random) -> Story:
    story = Story()
    async with asyncio.TaskGroup() as group:
        group.create_task(clients(gateway, key, story, rng))
        group.create_task(killer(gateway, story, rng))
    return story


def cost_of(tokens: tuple[int, ...]) -> int:
    """Micro-USD of token counts, rounded half up once."""
    total = sum(count * price for count, price in zip(tokens, PRICES, strict=True))
    return (total + 500_000) // 1_000_000


def tokens_of(usage: dict[str, Any]) -> tuple[int, ...]:
    return tuple(usage[name] for name in TOKENS)


def served(simulator: Simulator) -> dict[str, list[dict[str, Any]]]:
    """Everything the simulator served, by the gateway's request id."""
    by_id: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for record in simulator.messages():
        by_id[record["request_id"]].append(record)
    return by_id


def compare_attempts(row: dict[str, Any], records: list[dict[str, Any]]) -> list[str]:
    """Differences between a row's attempts and what the simulator says that it reported, attempt by attempt."""
    named = {record["upstream_request_id"]: record for record in records}
    wrong = []
    silent = [record for record in records if not any(tokens_of(record["usage"]))]
    for attempt in row["attempts"]:
        record = named.pop(attempt["upstream_request_id"], None) if attempt["upstream_request_id"] else None
        if record is None:
            match = next(
                (one for one in silent if one["account"] == attempt["account"] and one["upstream_request_id"] in named),
                None,
            )
            if match is None:
                wrong.append(
                    f"attempt {attempt['index']} at {attempt['account']} ({attempt['class']}) was never served"
                )
                continue
            record = named.pop(match["upstream_request_id"])
        if record["account"] != attempt["account"]:
            wrong.append(f"attempt {attempt['index']}: account {attempt['account']}, served by {record['account']}")
        if not attempt["estimated"] and tokens_of(attempt) != tokens_of(record["usage"]):
            wrong.append(
                f"attempt {attempt['index']} ({attempt['class']}): {tokens_of(attempt)} != {tokens_of(record['usage'])} {record['fault']}"
            )
    wrong += [f"served by {record['account']} ({record['fault']}) but in no attempt" for record in named.values()]
    return wrong


def check(gateway: Gateway, simulator: Simulator, story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Compare the ledger with the simulator, both ways."""
    rows = settle_all(gateway, simulator)
    by_id = served(simulator)
    by_row = {row["request_id"]: row for row in rows}
    assert len(by_row) == len(rows), "a request id has two rows"
    unsent = {name for name in set(by_row) - set(by_id) if killed_before_sending(by_row[name], story)}
    extra = [by_row[name] for name in set(by_row) - set(by_id) - unsent]
    assert not extra, f"{len(extra)} rows of requests that the simulator never saw: {extra[:3]}"
    missing = [by_id[name] for name in set(by_id) - set(by_row)]
    assert not missing, f"{len(missing)} requests that the simulator saw have no row: {missing[:3]}"

    exact = [row for row in rows if row["state"] != "abandoned" and not row["estimated"]]
    wrong = {row["request_id"]: found for row in exact if (found := compare_attempts(row, by_id[row["request_id"]]))}
    assert not wrong, f"{len(wrong)} rows differ: {list(wrong.items())[:5]}"
    # Account by account: what the ledger's attempts add up to, less all that the simulator reported for those requests.
    per_account: collections.Counter[str] = collections.Counter()
    for row in exact:
        if any(attempt["estimated"] for attempt in row["attempts"]):
            continue
        for attempt in row["attempts"]:
            per_account[attempt["account"]] += sum(tokens_of(attempt))
        for record in by_id[row["request_id"]]:
            per_account[record["account"]] -= sum(tokens_of(record["usage"]))
    assert set(per_account) == set(simulator.accounts)
    assert set(per_account.values()) <= {0}, per_account

    abandoned = [row for row in rows if row["state"] == "abandoned"]
    seen = {one.request_id: one for one in story.exchanges if one.request_id}
    late = LATE_SECONDS + lateness(by_id, seen, {row["request_id"] for row in abandoned})
    for row in abandoned:
        if row["request_id"] in unsent:
            continue
        began, ended = open_for(by_id[row["request_id"]], seen.get(row["request_id"]), late)
        near = any(began <= moment <= ended for moment in story.edge_kills)
        assert near, f"abandoned, but not open at a kill {story.edge_kills}: {row} {by_id[row['request_id']]}"
        assert row["cost_micro"] == 0

    # What was relayed lies between what the clients got and what the simulator sent: on a busy machine much is on its way.
    estimated = [row for row in rows if row["estimated"]]
    sent = sum(delivered_record(row, by_id)["relayed_tokens"] for row in estimated)
    got = sum(tokens_got(seen.get(row["request_id"])) for row in estimated)
    guess = sum(row["output_tokens"] for row in estimated)
    assert got * 0.9 <= guess <= sent * 1.1, (got, guess, sent, len(estimated))

    expected = 0
    for row in rows:
        if row["state"] in {"abandoned", "error_before_output"}:
            cost = 0
        elif row["estimated"] or row["state"] == "client_left":
            # What the simulator knows of a request that broke off is compared above, as far as it was told.
            cost = cost_of(tokens_of(row))
        else:
            cost = cost_of(tokens_of(delivered_record(row, by_id)["usage"]))
        assert row["cost_micro"] == cost, (cost, {**row, "records": by_id[row["request_id"]]})
        expected += cost
    summary = gateway.cli("usage", "summary", "--project", "demo")
    assert (summary["requests"], summary["cost_micro"]) == (len(rows), expected)
    credit = gateway.cli("projects", "list")
    balance = next(project["balance_micro"] for project in credit if project["name"] == "demo")
    assert balance == int(float(TOP_UP_USD) * 1_000_000) - expected

    states = collections.Counter(row["state"] + ("*" if row["estimated"] else "") for row in rows)
    with capsys.disabled():
        print(
            f"\nbooks: estimates {got:.0f} <= {guess} <= {sent}; {len(story.exchanges)} sent, {len(rows)} rows {dict(states)}, {sum(len(row['attempts']) for row in rows)} attempts, {expected} micro-USD"
        )
    for state in ("complete", "client_left*", "error_after_output*", "abandoned"):
        assert states[state] > 0, f"no row was ever {state}: the test has lost its teeth"
    assert any(len(row["attempts"]) > 1 for row in rows)


def killed_before_sending(row: dict[str, Any], story: Story) -> bool:
    """Whether an edge was killed between what it wrote down of a request and the request's way out: nobody is charged."""
    admitted = dt.datetime.fromisoformat(row["admitted_at"]).timestamp()
    latest = admitted + WAIT_FOR_ACCOUNT_SECONDS + LATE_SECONDS
    killed = any(admitted <= moment <= latest for moment in story.edge_kills)
    return killed and row["state"] == "abandoned" and not row["attempts"] and not any(tokens_of(row))


def tokens_got(client: Exchange | None) -> float:
    """Tokens of text that a client had received, at the simulator's four characters each."""
    if client is None:
        return 0.0
    lines = (line[6:] for line in client.body.split(b"\n") if line.startswith(b'data: {"type":"content_block_delta"'))
    return sum(len(json.loads(line)["delta"]["text"]) for line in lines) / 4


def lateness(by_id: dict[str, list[dict[str, Any]]], seen: dict[str, Exchange], but: set[str]) -> float:
    """How long this machine took at most until an upstream knew that a client had left."""
    times = [
        record["ended_at"] - seen[name].ended
        for name, records in by_id.items()
        for record in records
        if name not in but and name in seen and seen[name].left and record["state"] == "client_left"
    ]
    return max(times, default=0.0)


def open_for(records: list[dict[str, Any]], client: Exchange | None, late: float) -> tuple[float, float]:
    """When a request may have been open: by its client, else its upstreams, widened by what may be `late`."""
    if client is not None:
        return client.began, client.ended + late
    ended = max(record["ended_at"] for record in records)
    return min(record["arrived_at"] for record in records) - late, ended + WAIT_FOR_ACCOUNT_SECONDS + late


def delivered_record(row: dict[str, Any], by_id: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The simulator's record of the attempt whose output reached the client; of the last one when none did."""
    records = by_id[row["request_id"]]
    ids = {attempt["upstream_request_id"] for attempt in row["attempts"] if attempt["account"] == row["account"]}
    named = [record for record in records if record["upstream_request_id"] in ids]
    return (named or records)[-1]


def settle_all(gateway: Gateway, simulator: Simulator) -> list[dict[str, Any]]:
    """Wait until every request has ended and has its row, then until no more come."""

    def all_there() -> bool:
        records = simulator.messages()
        wanted = {record["request_id"] for record in records}
        if any(record["state"] == "open" for record in records):
            return False
        summary = gateway.admin("usage/summary", project="demo")
        return summary["requests"] >= len(wanted) and wanted <= {row["request_id"] for row in gateway.usage()}

    try:
        wait_until("every request has its row", all_there, PATIENCE_SECONDS, 1.0)
    except AssertionError:
        return gateway.usage()
    time.sleep(2.0)
    return gateway.usage()


@pytest.mark.timeout(900)
@pytest.mark.xdist_group("books")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_books_balance(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("PENSTOCK_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed: PENSTOCK_SEED={seed}")
    rng = random.Random(seed)
    if database == "sqlite":
        run(tmp_path, rng, capsys)
    else:
        with postgres_server() as server:
            run(tmp_path, rng, capsys, "--database-url", server.database())


def run(tmp_path: Path, rng: random.Random, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
    plans = [plan("prepaid", maxConcurrentRequests=1000, credit="Required")]
    with running(tmp_path, "--edges", "2", *arguments, plans=plans) as (gateway, simulator):
        key = gateway.key(plan="prepaid")
        gateway.cli("credit", "add", "--project", "demo", "--usd", TOP_UP_USD)
        for name in simulator.accounts:
            simulator.faults(name, *(rule | {"seed": rng.randrange(1 << 30)} for rule in FAULTS))
        story = asyncio.run(play(gateway, key, rng))
        simulator.clear()
        assert story.served() >= REQUESTS
        assert (len(story.edge_kills), story.auth_kills) == (KILLS_EACH, KILLS_EACH)
        check(gateway, simulator, story, capsys)
        assert gateway.end() == 0
