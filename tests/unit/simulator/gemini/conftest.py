"""Requests of the Gemini API: as documents, over httpx, and as raw bytes."""

import asyncio
import json

import httpx
import pytest

from penstock_simulator.server import Simulator
from penstock_simulator.settings import AccountSettings, SimulatorSettings
from tests.unit.simulator.conftest import Wire

MODEL, THIRD = "gemini-2.5-flash", "gemini-3-pro-preview"
UNARY, EVENTS, LIST = "generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"
EVERY = pytest.mark.parametrize("method", [UNARY, EVENTS, LIST])
STREAMS = pytest.mark.parametrize("method", [EVENTS, LIST])
QUIET = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}
TOOL = {"functionDeclarations": [{"name": "weather", "parametersJsonSchema": {"type": "object"}}]}


def said(text="hello", **fields):
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}


def asked(directive, **fields):
    return said(f"hello [[sim: {directive}]]", **fields)


def path(method=UNARY, model=MODEL, version="v1beta"):
    return f"/{version}/models/{model}:{method}"


def elements(wire_or_text):
    """Return what a stream of either form consists of."""
    text = wire_or_text.body.decode() if isinstance(wire_or_text, Wire) else wire_or_text
    if text.startswith("["):
        return json.loads(text)
    events = text.split("\r\n\r\n")
    assert events.pop() == ""
    assert all(event.startswith("data: ") for event in events)
    return [json.loads(event[6:]) for event in events]


def spoken(found):
    """Return the text of a stream's elements that is not thought."""
    parts = [part for one in found for part in parts_of(one)]
    return "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))


def parts_of(element):
    return [part for one in element.get("candidates", ()) for part in one["content"].get("parts", ())]


def error_of(wire, method=UNARY):
    """Return the error of a status; a stream that is a list wraps it in one."""
    found = json.loads(wire.body)
    assert isinstance(found, list) == (method == LIST)
    return (found[0] if method == LIST else found)["error"]


def detail(error, kind):
    found = [one for one in error.get("details", ()) if one["@type"] == f"type.googleapis.com/google.rpc.{kind}"]
    return found[0] if found else None


@pytest.fixture
async def sim():
    accounts = (AccountSettings(name="a", key="key-a"), AccountSettings(name="b", key="key-b"))
    settings = SimulatorSettings(accounts=accounts, cache_minimum_tokens=16, silence_seconds=30)
    async with Simulator(settings) as running:
        yield running


@pytest.fixture
async def http(sim):
    async with httpx.AsyncClient(base_url=sim.url, headers={"x-goog-api-key": "key-a"}, timeout=10) as client:
        yield client


@pytest.fixture
def post(sim):
    """Send one request on a connection of its own, and read until the end or `patience` seconds of silence."""

    async def send(document, *, to=None, patience=5):
        body = json.dumps(document).encode()
        lines = [
            f"POST {to or path()} HTTP/1.1",
            "host: sim",
            "x-goog-api-key: key-a",
            "content-type: application/json",
            "connection: close",
            f"content-length: {len(body)}",
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        wire = Wire()
        try:
            while data := await asyncio.wait_for(reader.read(1 << 20), patience):
                wire.reads.append(data)
        except ConnectionResetError:
            wire.reset = True
        except TimeoutError:
            wire.silent = True
        writer.close()
        return wire

    return send
