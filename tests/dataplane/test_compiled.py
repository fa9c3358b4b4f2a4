"""A gateway whose edge runs compiled modules does what the other does: every dialect, failover, limits, the books."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from scripts import compiled, training

from tests.client import Exchange, exchange, many, payload
from tests.stack import MODEL, plan, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Gateway, Simulator

pytestmark = [pytest.mark.xdist_group("compiled"), pytest.mark.timeout(1200)]

# In the tree and not in a folder of the test's own: made once, and by whoever needs it first.
FOLDER = compiled.ROOT / ".compiled"
TURN = [{"role": "user", "content": "Say something."}]
DIALECTS = {
    "/v1/messages": {"model": MODEL, "max_tokens": 64, "messages": TURN},
    "/v1/chat/completions": {"model": MODEL, "max_tokens": 64, "messages": TURN},
    "/v1/responses": {"model": MODEL, "max_output_tokens": 64, "input": "Say something."},
    f"/v1beta/models/{MODEL}:generateContent": {"contents": [{"role": "user", "parts": [{"text": "Say something."}]}]},
}
STREAMS = {path: body | {"stream": True} for path, body in DIALECTS.items() if "models" not in path} | {
    f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse": DIALECTS[f"/v1beta/models/{MODEL}:generateContent"]
}


@pytest.fixture(scope="module")
def path() -> str:
    """The folder's, once everything in it is compiled."""
    subprocess.run([sys.executable, str(compiled.ROOT / "scripts/compiled.py"), str(FOLDER)], check=True)
    return str(FOLDER)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, path: str) -> Iterator[tuple[Gateway, Simulator]]:
    few = {"name": "few", "unit": "Requests", "amount": 3, "window": "1h"}
    plans = [plan("open", maxConcurrentRequests=4096, messagesTranslation="Allow"), plan("tight", limits=[few])]
    with running(
        tmp_path_factory.mktemp("compiled"), plans=plans, simulator={"keep_bodies": True}, env={"PYTHONPATH": path}
    ) as (gateway, simulator):
        yield gateway, simulator


def send(gateway: Gateway, key: str, path: str, body: bytes) -> Exchange:
    return asyncio.run(exchange(gateway.port, key, body, path=path))


def test_what_is_named_is_compiled_and_taken_from_the_folder(path: str) -> None:
    names = [
        f"{package}.{module.replace('/', '.')}"
        for package, modules in compiled.HOT.items()
        for module in modules.split()
    ]
    told = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]))"
    command = [sys.executable, "-c", told, *names]
    env = os.environ | {"PYTHONPATH": path}
    files = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.split()
    assert len(files) == len(names) > 40
    assert all(Path(file).is_relative_to(path) and file.endswith(".so") for file in files), files


def test_gcc_compiles_for_what_the_modules_were_seen_to_do(path: str) -> None:
    compiler = subprocess.run(["cc", "--version"], check=True, capture_output=True, text=True).stdout
    assert "Free Software Foundation" in compiler, "the tests install gcc"
    asked = re.search(r"^training: (\d+) requests", (Path(path) / "build.log").read_text(), re.MULTILINE)
    assert asked is not None
    assert int(asked[1]) > 10 * len(training.questions())


def test_what_is_trained_on_is_every_dialect_of_every_provider() -> None:
    asked = training.questions()
    for way in ("/v1/messages", "/v1/chat/completions", "/v1/responses"):
        for streams in (False, True):
            named = [body["model"] for path, body in asked if path == way and ("stream" in body) == streams]
            assert set(named) == set(training.MODELS), (way, streams)
    paths = {path for path, _ in asked}
    for model in training.MODELS:
        gemini = f"/v1beta/models/{model}"
        assert {f"{gemini}:generateContent", f"{gemini}:streamGenerateContent?alt=sse"} <= paths


def test_a_training_that_is_not_answered_ends_the_compilation() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, text="no such key", request=request)

    with pytest.raises(training.UnansweredError, match="401 no such key"):
        asyncio.run(training.ask("http://gateway", "psk_none", httpx.MockTransport(refuse)))


def test_other_compilers_compile_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho clang version 22\n")
    other.chmod(0o755)
    monkeypatch.setenv("CC", f"{other} -mcpu=baseline")
    (step,) = compiled.steps(tmp_path / "profile")
    assert not step["then"]
    assert "profile" not in step["flags"]["CFLAGS"] + step["flags"]["LDFLAGS"]
    monkeypatch.setenv("CC", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="no C compiler was found"):
        compiled.steps(tmp_path / "profile")


def test_a_folder_is_current_until_a_source_changes(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (Path(path) / compiled.STAMP).read_text() == compiled.made_of()
    monkeypatch.setattr(compiled, "PACKAGES", compiled.PACKAGES[:1])
    assert (Path(path) / compiled.STAMP).read_text() != compiled.made_of()
    told = [sys.executable, str(compiled.ROOT / "scripts/compiled.py"), "--current"]
    assert subprocess.run([*told, path], check=True, capture_output=True, text=True).stdout.strip() == path
    assert not subprocess.run([*told, str(tmp_path)], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(("way", "body"), [*DIALECTS.items(), *STREAMS.items()])
def test_every_dialect_is_served_and_counted(
    stack: tuple[Gateway, Simulator], way: str, body: dict[str, object]
) -> None:
    gateway, simulator = stack
    simulator.forget()
    project = f"dialect-{abs(hash(way)) % 10**6}-{'stream' in body}"
    seen = send(gateway, gateway.key(project), way, json.dumps(body).encode())
    assert (seen.status, seen.cut) == (200, False), seen.body
    (record,) = simulator.messages()
    (row,) = wait_until("the request has its row", lambda: gateway.usage(project))
    assert row["state"] == "complete"
    usage = record["usage"]
    assert (row["input_tokens"], row["output_tokens"]) == (usage["input_tokens"], usage["output_tokens"])


def test_bytes_pass_unchanged(stack: tuple[Gateway, Simulator]) -> None:
    gateway, simulator = stack
    simulator.forget()
    body = b'{ "messages" : [ {"role":"user","content":"h\\u00e9llo"} ],\n"max_tokens":16 ,"model":"claude-haiku-4-5"}'
    seen = send(gateway, gateway.key(), "/v1/messages", body)
    assert seen.status == 200, seen.body
    assert [simulator.body(record) for record in simulator.messages()] == [body]


@pytest.mark.parametrize("fault", ["529", "429", "cut_after_headers", "stream_error_before"])
def test_failures_before_output_are_absorbed(stack: tuple[Gateway, Simulator], fault: str) -> None:
    gateway, simulator = stack
    rule = {"fault": fault} | ({"error": "overloaded_error"} if fault == "stream_error_before" else {})
    simulator.faults("a", {"operation": "messages", "set": rule})
    try:
        bodies = [payload(stream=number % 2 == 0) for number in range(60)]
        answers = asyncio.run(many(gateway.port, gateway.key(), bodies, 6))
    finally:
        simulator.clear()
    assert [one.body for one in answers if not one.good] == []


def test_a_limit_is_exact(stack: tuple[Gateway, Simulator]) -> None:
    gateway, _ = stack
    key = gateway.key("tight", "tight")
    answers = asyncio.run(many(gateway.port, key, [payload()] * 10, 5))
    assert sorted(one.status for one in answers) == [200] * 3 + [429] * 7


def test_a_client_that_leaves_is_settled_with_an_estimate(stack: tuple[Gateway, Simulator]) -> None:
    gateway, _ = stack
    body = payload("chunks=400 pace=50ms tokens=1200", stream=True, max_tokens=2000)

    async def leave() -> Exchange:
        seen = Exchange()
        task = asyncio.create_task(exchange(gateway.port, key, body, seen=seen))
        while not seen.output_at:
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return seen

    key = gateway.key("leaver")
    asyncio.run(leave())
    (row,) = wait_until("the request has its row", lambda: gateway.usage("leaver"))
    assert (row["state"], row["estimated"]) == ("client_left", True)
    assert 0 < row["output_tokens"] < 1200


def test_what_is_wrong_is_told_and_nothing_crashes(stack: tuple[Gateway, Simulator]) -> None:
    gateway, _ = stack
    key = gateway.key()
    for body in (b"{", b"[]", b'{"model": 7}', payload(model="no-such-model"), payload(max_tokens=-1)):
        seen = send(gateway, key, "/v1/messages", body)
        assert 400 <= seen.status < 500, seen.body
    assert send(gateway, "psk_wrong", "/v1/messages", payload()).status == 401
    assert "exchange_crashed" not in gateway.log()
    assert "request_crashed" not in gateway.log()
