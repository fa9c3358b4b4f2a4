"""Nothing secret leaks: not into logs, metrics, error texts, the ledger or the data directory's open files."""

from __future__ import annotations

import asyncio
import json
import stat
from typing import TYPE_CHECKING

import httpx
import pytest

from tests import dialects
from tests.client import exchange
from tests.dataplane.test_translation import MODELS, started
from tests.stack import MODEL, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dataplane.test_translation import Stack

PROMPT = "the-prompt-that-nobody-may-see"
COMPLETION = "the-completion-that-nobody-may-see"


@pytest.mark.xdist_group("secrets")
def test_no_secret_reaches_a_log_a_metric_an_error_or_the_ledger(tmp_path: Path) -> None:
    with running(
        tmp_path,
        env={
            "PENSTOCK_EDGE_LOG_LEVEL": "debug",
            "PENSTOCK_AUTH_LOG_LEVEL": "debug",
            "PENSTOCK_ROUTER_LOG_LEVEL": "debug",
        },
    ) as (gateway, simulator):
        key = gateway.key()
        answers = []
        for directive in (
            "",
            "fault=500",
            "fault=stream_error_after",
            "fault=cut_mid_stream",
            "fault=401",
            "fault=400",
            "fault=not_json",
            "fault=html",
        ):
            for stream in (False, True):
                text = f'{PROMPT} [[sim: say="{COMPLETION}" {directive}]]'
                body = json.dumps(
                    {
                        "model": MODEL,
                        "max_tokens": 99,
                        "stream": stream,
                        "messages": [{"role": "user", "content": text}],
                    }
                )
                answers.append(asyncio.run(exchange(gateway.port, key, body.encode())))
        asyncio.run(exchange(gateway.port, key[:-1] + "x", body.encode()))
        httpx.post(
            f"{gateway.url}/v1/messages?key={key}",
            content=b"{" + PROMPT.encode(),
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
        )
        rows = json.dumps(gateway.usage())
        metrics = "".join(gateway.metrics(name) for name in ("edge-0", "auth-0", "router-0", "status-0"))
        assert "penstock_" in metrics
        shown = (
            gateway.log() + metrics + rows + json.dumps(gateway.accounts()) + json.dumps(gateway.cli("keys", "list"))
        )
        credentials = [f"sim-key-{name}" for name in simulator.accounts]
        gateway.end()
        shown += gateway.log()
        for secret in (key, PROMPT, COMPLETION, *credentials):
            assert secret not in shown
        errors = b"".join(one.body for one in answers if one.status != 200)
        assert all(credential.encode() not in errors for credential in credentials)
        assert any(one.status == 200 for one in answers)
        for path in gateway.data_dir.rglob("*"):
            if path.is_file():
                held = path.read_bytes()
                assert PROMPT.encode() not in held, path
                assert COMPLETION.encode() not in held, path
                assert key.encode() not in held, path
                if any(credential.encode() in held for credential in credentials):
                    assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


FAULTS = (
    "",
    "fault=500",
    "fault=stream_error_after after=1",
    "fault=cut_mid_stream after=1",
    "fault=400",
    "fault=html",
)


def ask_in_every_way(stack: Stack) -> None:
    """Prompts in every dialect before every provider, well and badly served."""
    for dialect in dialects.DIALECTS:
        for model in MODELS.values():
            for number, fault in enumerate(FAULTS):
                stream = bool(number % 2)
                prompt = f'{PROMPT} [[sim: say="{COMPLETION}" {fault}]]'
                body = dialects.request(dialect, model, prompt, stream=stream, tools=True)
                stack.ask(dialect, body, model, stream=stream)
    with httpx.Client(base_url=stack.gateway.url, timeout=60) as client:
        ask_by_hand(client, stack.key)


def ask_by_hand(client: httpx.Client, key: str) -> None:
    """Keys where only Gemini's clients put them, and bodies that are none."""
    contents = {"contents": [{"parts": [{"text": PROMPT}]}]}
    for path in ("/v1beta/models/gemini-2.5-flash:generateContent", "/v1beta/models/none:generateContent"):
        client.post(path, params={"key": key}, json=contents)
        client.post(path, params={"key": key}, content=b"{" + PROMPT.encode())
    client.get("/v1beta/models", params={"key": key})
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/embeddings"):
        odd = {"model": MODEL, "messages": [{"role": PROMPT}], "input": [{"type": PROMPT}], PROMPT: PROMPT}
        client.post(path, json=odd, headers={"authorization": f"Bearer {key}"})


@pytest.mark.xdist_group("secrets")
def test_nor_in_any_dialect_before_any_provider(tmp_path: Path) -> None:
    env = {"PENSTOCK_EDGE_LOG_LEVEL": "debug", "PENSTOCK_ROUTER_LOG_LEVEL": "debug"}
    with started(tmp_path, 3, **env) as stack:
        gateway, simulator = stack.gateway, stack.simulator
        ask_in_every_way(stack)
        metrics = "".join(gateway.metrics(name) for name in ("edge-0", "auth-0", "router-0"))
        assert "penstock_" in metrics
        credentials = [f"sim-key-{name}" for name in simulator.accounts]
        # What an upstream saw: no key of ours in its address, and none in a header.
        assert stack.key not in json.dumps(simulator.records())
        gateway.end()
        shown = gateway.log() + metrics
        for secret in (stack.key, PROMPT, COMPLETION, *credentials):
            assert secret not in shown
        for path in gateway.data_dir.rglob("*"):
            if path.is_file():
                held = path.read_bytes()
                assert not any(secret.encode() in held for secret in (stack.key, PROMPT, COMPLETION)), path
