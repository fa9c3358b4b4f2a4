"""What is written for a provider is never what it refuses: the simulator, which is as strict, judges.

Requests of every dialect before every generation of models; only a refusal of our own may come instead.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from penstock_edge.dialects import anthropic, gemini, openai_chat, openai_responses
from penstock_edge.dialects.dialect import Birth
from penstock_edge.errors import ProblemError
from penstock_edge.providers.wire import Addressee
from penstock_edge.providers.wires import wire_for
from penstock_edge.tool_disguise import disguised
from penstock_simulator.accounts import Account
from penstock_simulator.anthropic.check import check as check_messages
from penstock_simulator.anthropic.models import Models as ClaudeModels
from penstock_simulator.connection import Request
from penstock_simulator.gemini.check import check as check_generate
from penstock_simulator.gemini.check import check_count
from penstock_simulator.gemini.messages import COUNT, GENERATE
from penstock_simulator.gemini.models import Models as GeminiModels
from penstock_simulator.gemini.proto import read
from penstock_simulator.settings import AccountSettings
from tests.effort import examples
from tests.unit.edge import conversations

DIALECTS = {
    "messages": (anthropic.DIALECT, conversations.messages),
    "generate": (gemini.DIALECT, conversations.generate),
    "chat": (openai_chat.DIALECT, conversations.chat),
    "responses": (openai_responses.DIALECT, conversations.responses),
}
CLAUDE, GEMINI = ClaudeModels(), GeminiModels()
MODELS = {
    "Anthropic": [
        "claude-3-5-haiku-20241022",
        "claude-opus-4-1-20250805",
        "claude-haiku-4-5",
        "claude-sonnet-4-6",
        "claude-opus-4-8",
        "claude-opus-5",
    ],
    "Gemini": [
        "gemini-2.0-flash",
        "gemini-2.5-flash-lite",
        "gemini-2.5-flash",
        "gemini-2.5-pro",
        "gemini-3-flash-preview",
        "gemini-3-pro-preview",
    ],
}


def conversation(spoken, body):
    dialect, raw = DIALECTS[spoken][0], json.dumps(body).encode()
    if spoken == "generate":
        head = dialect.head(raw, "m", streamed=False, counting=False, sse=True)
    else:
        head = dialect.head(raw)
    return dialect.read(head, raw, Birth("req_" + "0" * 32, 1))


def judge(provider, model, document, *, counting):
    if provider == "Anthropic":
        request = Request("POST", "/v1/messages", [("anthropic-version", "2023-06-01")], b"", oversized=False)
        account = Account(AccountSettings(name="a", key="k"), 0.0)
        check_messages(request, document, CLAUDE, account, counting=counting)
    elif counting:
        check_count(read(COUNT, document), GEMINI.find(model))
    else:
        check_generate(read(GENERATE, document), GEMINI.find(model))


PAIRS = [
    (spoken, provider) for spoken in DIALECTS for provider in MODELS if wire_for(provider, spoken, "").name != spoken
]


@pytest.mark.parametrize(("spoken", "provider"), PAIRS)
@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(random=st.randoms(use_true_random=False), counting=st.booleans())
def test_what_is_written_is_accepted(spoken, provider, random, counting):
    body = DIALECTS[spoken][1](conversations.Drawn(random))
    note(json.dumps(body))
    asked = conversation(spoken, body)
    before = json.dumps(asked.request.body)
    for model in MODELS[provider]:
        known = (CLAUDE if provider == "Anthropic" else GEMINI).find(model)
        wire, to = wire_for(provider, spoken, model), Addressee(provider, model, known.output)
        request, _ = disguised(asked.request, provider)
        try:
            written = wire.write_count(request, to) if counting else wire.write(request, to, streamed=False)
        except ProblemError as refusal:
            assert "structured output" in refusal.problem.message  # noqa: PT017 -- either outcome is right
            continue
        note(f"{model}: {written.body.decode()}")
        judge(provider, model, json.loads(written.body), counting=counting)
    assert json.dumps(asked.request.body) == before
