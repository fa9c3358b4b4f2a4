"""A running simulator with two accounts, and raw bytes to and from it."""

import asyncio
import json
from dataclasses import dataclass, field

import httpx
import pytest

from penstock_simulator.server import Simulator
from penstock_simulator.settings import AccountSettings, SimulatorSettings

MODEL = "claude-sonnet-4-6"


@pytest.fixture
def silence_seconds():
    return 30.0


@pytest.fixture
def settings(silence_seconds):
    return SimulatorSettings(
        accounts=(AccountSettings(name="a", key="key-a"), AccountSettings(name="b", key="key-b")),
        cache_minimum_tokens=16,
        keep_bodies=True,
        silence_seconds=silence_seconds,
    )


@pytest.fixture
async def sim(settings):
    async with Simulator(settings) as running:
        yield running


@pytest.fixture
async def http(sim):
    headers = {"x-api-key": "key-a", "anthropic-version": "2023-06-01"}
    async with httpx.AsyncClient(base_url=sim.url, headers=headers, timeout=10) as client:
        yield client


@dataclass
class Wire:
    """What came over one raw connection."""

    reads: list[bytes] = field(default_factory=list)
    reset: bool = False
    silent: bool = False

    @property
    def all(self) -> bytes:
        return b"".join(self.reads)

    @property
    def head(self) -> str:
        return self.all.partition(b"\r\n\r\n")[0].decode()

    @property
    def status(self) -> int:
        return int(self.head.split(" ")[1])

    @property
    def rest(self) -> bytes:
        return self.all.partition(b"\r\n\r\n")[2]

    @property
    def body(self) -> bytes:
        """The body, chunks put together as far as they are whole."""
        if "transfer-encoding: chunked" not in self.head:
            return self.rest
        result, rest = b"", self.rest
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            if length == 0 or len(rest) < length + 2:
                break
            result += rest[:length]
            rest = rest[length + 2 :]
        return result

    @property
    def ended_well(self) -> bool:
        return self.rest.endswith(b"0\r\n\r\n")

    @property
    def events(self) -> list[str]:
        return [line[7:].decode() for line in self.body.split(b"\n") if line.startswith(b"event: ")]


def message(prompt="hello", **fields):
    return {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": prompt}], **fields}


@pytest.fixture
def post(sim):
    """Send one request on a connection of its own, and read until the end or `patience` seconds of silence."""

    async def send(document, *, headers=(), path="/v1/messages", patience=5, key="key-a", raw=None):
        body = raw if raw is not None else json.dumps(document).encode()
        lines = [
            f"POST {path} HTTP/1.1",
            "host: sim",
            f"x-api-key: {key}",
            "anthropic-version: 2023-06-01",
            "content-type: application/json",
            "connection: close",
            f"content-length: {len(body)}",
            *headers,
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        wire = Wire()
        try:
            while True:
                data = await asyncio.wait_for(reader.read(1 << 20), patience)
                if not data:
                    break
                wire.reads.append(data)
        except ConnectionResetError:
            wire.reset = True
        except TimeoutError:
            wire.silent = True
        writer.close()
        return wire

    return send


async def until(condition, seconds=3.0):
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
