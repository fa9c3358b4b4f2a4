#!/usr/bin/env python3
"""Start a gateway on this machine and ask it what clients ask: each dialect of each provider, unary and as streams.

Modules that count how often their code runs (`scripts/compiled.py` compiles such) have counted what matters then.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODELS = ("claude-haiku-4-5", "gpt-5-nano", "gemini-2.5-flash")
"""One of each provider that the simulator plays."""
SENTENCE = "The quick brown fox jumps over the lazy dog. "
PROMPTS = {"short": SENTENCE * 20, "long": SENTENCE * 1_500}
CONNECTIONS = 32
"""Enough to keep the edge busy, so that its writes go out together."""
ROUNDS = 100
ADDRESS = re.compile(r"^ +gateway +(http://\S+)\n", re.MULTILINE)
START_SECONDS = 120.0
ANSWER_SECONDS = 60.0
END_SECONDS = 60.0
PROVIDER_VARIABLES = ("ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_", "PENSTOCK_")


class UnansweredError(Exception):
    """A request got no answer; the text says which, and what came instead."""


class Question(NamedTuple):
    """One request: where it goes, and its body."""

    path: str
    body: Mapping[str, Any]


def questions() -> list[Question]:
    """Return everything that is asked in one round."""
    return [
        question
        for model in MODELS
        for prompt in PROMPTS.values()
        for stream in (False, True)
        for question in _in_each_dialect(model, prompt, stream=stream)
    ]


def _in_each_dialect(model: str, prompt: str, *, stream: bool) -> Iterator[Question]:
    turns = [{"role": "user", "content": prompt}]
    streams = {"stream": True} if stream else {}
    yield Question("/v1/messages", {"model": model, "max_tokens": 64, "messages": turns} | streams)
    yield Question("/v1/chat/completions", {"model": model, "max_completion_tokens": 64, "messages": turns} | streams)
    yield Question("/v1/responses", {"model": model, "max_output_tokens": 64, "input": prompt} | streams)
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    contents = [{"role": "user", "parts": [{"text": prompt}]}]
    yield Question(f"/v1beta/models/{model}:{method}", {"contents": contents})


@contextmanager
def gateway(folder: Path) -> Iterator[tuple[str, str]]:
    """Run `penstock up` before its simulator; gives its address and a key. Exits when it does not start or end well."""
    told = {name: value for name, value in os.environ.items() if not name.startswith(PROVIDER_VARIABLES)}
    command = [sys.executable, "-m", "penstock_cli.main", "up", "--port", "0", "--admin-port", "0"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")], env=told, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        url = _await_address(process, log)
        yield url, (folder / "data/secrets/demo-key/api-key").read_text().strip()
    finally:
        process.terminate()
        try:
            ended = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            ended = process.wait()
    if ended:
        sys.exit(f"training: the gateway ended with {ended}:\n{log.read_text()[-3000:]}")


def _await_address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address that is said when all is up."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        said = ADDRESS.search(log.read_text())
        if said is not None:
            return said[1]
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"training: the gateway did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)


async def ask(url: str, key: str, transport: httpx.AsyncBaseTransport | None = None) -> int:
    """Ask all of it in turn on each connection; returns how many were answered.

    Raises UnansweredError.
    """
    everything = questions()

    async def one(number: int) -> int:
        headers = {"x-api-key": key}
        async with httpx.AsyncClient(
            base_url=url, headers=headers, timeout=ANSWER_SECONDS, transport=transport
        ) as client:
            for nth in range(ROUNDS * len(everything) // CONNECTIONS):
                path, body = everything[(number + nth) % len(everything)]
                answer = await client.post(path, json=body)
                if answer.status_code != httpx.codes.OK:
                    raise UnansweredError(f"{path} {body.get('model', '')}: {answer.status_code} {answer.text[:500]}")
        return ROUNDS * len(everything) // CONNECTIONS

    return sum(await asyncio.gather(*(one(number) for number in range(CONNECTIONS))))


def main() -> None:
    """Start, ask, end."""
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder)) as (url, key):
        begun = time.monotonic()
        try:
            asked = asyncio.run(ask(url, key))
        except (UnansweredError, httpx.HTTPError) as error:
            sys.exit(f"training: {type(error).__name__}: {error}")
        print(f"training: {asked} requests in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
