"""Requests of OpenAI's API: as documents, with its own SDK, and as raw bytes."""

import json

import openai
import pytest

from penstock_simulator.accounts import Account
from penstock_simulator.openai.chat_check import check_chat
from penstock_simulator.openai.models import Models
from penstock_simulator.openai.responses_check import check_responses
from penstock_simulator.openai.stored import Stored
from penstock_simulator.settings import AccountSettings, SimulatorSettings

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
HI = {"role": "user", "content": "hi"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
STRICT = {**CITY, "required": ["city"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
FLAT_TOOL = {"type": "function", "name": "weather", "parameters": CITY}
CUSTOM = {"type": "custom", "custom": {"name": "patch"}}


def without(document):
    """Leave out what is `...`."""
    return {name: value for name, value in document.items() if value is not ...}


def chat(prompt="hi", **fields):
    return without({"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]} | fields)


def respond(prompt="hi", **fields):
    return without({"model": "gpt-5", "input": prompt} | fields)


def account(**fields):
    return Account(AccountSettings(**{"name": "a", "key": "k"} | fields), 0.0)


def read_chat(document, **fields):
    return check_chat(document, Models(), account(**fields))


def read_responses(document, stored=None, *, counting=False, **fields):
    return check_responses(document, Models(), account(**fields), stored or Stored(), counting=counting)


@pytest.fixture
def settings():
    return SimulatorSettings(
        accounts=(
            AccountSettings(name="a", key="key-a"),
            AccountSettings(name="b", key="key-b"),
            AccountSettings(name="c", key="key-c", compatible=True),
            AccountSettings(name="d", key="key-d", compatible=True, models=("llama-3", "bge-*")),
        ),
        keep_bodies=True,
        silence_seconds=30,
    )


@pytest.fixture
async def sdk(sim):
    async with openai.AsyncOpenAI(api_key="key-a", base_url=f"{sim.url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
async def compatible(sdk):
    return sdk.with_options(api_key="key-c")


@pytest.fixture
def send(post):
    """Send one request over a raw connection."""

    async def ask(document, path=CHAT, *, key="key-a", **how):
        return await post(document, path=path, headers=[f"authorization: Bearer {key}"], **how)

    return ask


def events(wire):
    """Return the data of every event, [DONE] as it is."""
    parts = wire.body.split(b"\n\n")
    assert parts.pop() == b""
    lines = [part.split(b"\n")[-1] for part in parts if not part.startswith(b":")]
    assert all(line.startswith(b"data: ") for line in lines)
    return [line[6:].decode() if line == b"data: [DONE]" else json.loads(line[6:]) for line in lines]
