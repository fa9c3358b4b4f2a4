"""Conversations that change models in mid-course, in all directions, with tools in between: nobody refuses a turn.

The simulator's providers refuse every signature of thinking that is not their own, as the real ones do.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests import dialects
from tests.dialects import DIALECTS
from tests.stack import Gateway, Simulator, account, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("switching")

MODELS = (
    "claude-haiku-4-5",
    "claude-sonnet-4-6",
    "claude-opus-5",
    "gpt-5-mini",
    "gpt-5.1",
    "gpt-4o-mini",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gemini-3-flash-preview",
    "local-llama",
)
HISTORY = {"gemini": "contents", "openai_responses": "input"}
LLAMA = {
    "apiVersion": "penstock.dev/v1alpha1",
    "kind": "Model",
    "metadata": {"name": "local-llama"},
    "spec": {
        "ownedBy": "meta",
        "contextTokens": 128000,
        "maxOutputTokens": 8192,
        "prices": [
            {"effectiveTime": "2026-01-01T00:00:00Z", "inputPerMillionTokens": "0.1", "outputPerMillionTokens": "0.4"}
        ],
    },
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("switching")
    simulator = Simulator(folder, ["a", "o", "g", "c"], own={"c": {"compatible": True}})
    documents = [plan("open", maxConcurrentRequests=4096, messagesTranslation="Allow"), LLAMA]
    documents += account("a", simulator.url, "sim-key-a")
    documents += account("o", f"{simulator.url}/v1", "sim-key-o", provider="OpenAI")
    documents += account("g", simulator.url, "sim-key-g", provider="Gemini")
    documents += account("c", f"{simulator.url}/v1", "sim-key-c", provider="OpenAICompatible", models=["local-*"])
    gateway = Gateway(folder, documents)
    try:
        with httpx.Client(base_url=gateway.url, headers={"x-api-key": gateway.key()}, timeout=60) as opened:
            yield opened
    finally:
        gateway.end()
        simulator.end()


def thinking(dialect: str, model: str) -> dict[str, Any]:
    """What a client that knows the model asks, so that there is something to sign."""
    match dialect:
        case "anthropic" if model == "claude-haiku-4-5" or not model.startswith("claude"):
            return {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        case "anthropic":
            return {"thinking": {"type": "adaptive", "display": "summarized"}}
        case "gemini":
            return {"thinkingConfig": {"includeThoughts": True}}
        case _ if model == "gpt-4o-mini":
            return {}
        case "openai_chat":
            return {"reasoning_effort": "low"}
        case _:
            return {"reasoning": {"effort": "low", "summary": "auto"}}


def asked(dialect: str, model: str, turns: list[Any]) -> dict[str, Any]:
    body = dialects.request(dialect, model, "", tools=True, most=4000)
    body[HISTORY.get(dialect, "messages")] = turns
    if dialect == "gemini":
        body["generationConfig"] |= thinking(dialect, model)
    else:
        body |= thinking(dialect, model)
    if model == "gpt-4o-mini":
        # It has no reasoning, and its clients ask for none.
        body.pop("include", None)
    return body


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_turn_is_refused(client: httpx.Client, dialect: str, seed: int) -> None:
    chance = random.Random(f"{dialect} {seed}")
    name = HISTORY.get(dialect, "messages")
    history: list[Any] = dialects.request(dialect, "m", "[[sim: tool=weather tools=2 thinking=20]] go")[name]
    models = []
    for _ in range(8):
        models.append(chance.choice(MODELS))
        answer = client.post(dialects.path(dialect, models[-1]), json=asked(dialect, models[-1], history))
        assert answer.status_code == 200, f"{models}: {answer.text}"
        said = dialects.read(dialect, answer.content)
        history += said.turn if isinstance(said.turn, list) else [said.turn]
        if said.calls:
            results = dialects.second_turn(dialect, "m", "", dialects.Said(calls=said.calls, turn=[]), "sunny")
            history += results[name][1:]
        else:
            words = chance.choice(("tool=weather thinking=20", "say=well thinking=20"))
            history += dialects.request(dialect, "m", f"[[sim: {words}]] on")[name]
