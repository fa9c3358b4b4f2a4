"""Every dialect before every provider, through real processes: what was asked arrives, what was said comes back, the books balance."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests import dialects
from tests.dialects import DIALECTS
from tests.effort import examples
from tests.stack import Gateway, Simulator, account, plan, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("translation")

MODELS = {
    "Anthropic": "claude-haiku-4-5",
    "OpenAI": "gpt-5-mini",
    "Gemini": "gemini-2.5-flash",
    "OpenAICompatible": "local-llama",
}
LETTERS = {"Anthropic": "a", "OpenAI": "o", "Gemini": "g", "OpenAICompatible": "c"}
PAIRS = [(dialect, provider) for dialect in DIALECTS for provider in MODELS]
NATIVE = {
    "anthropic": ("Anthropic",),
    "openai_chat": ("OpenAI", "OpenAICompatible"),
    "openai_responses": ("OpenAI",),
    "gemini": ("Gemini",),
}


class Stack:
    """A gateway with one account of each provider, all of them played by one simulator."""

    def __init__(self, gateway: Gateway, simulator: Simulator) -> None:
        self.gateway, self.simulator = gateway, simulator
        self.key = gateway.key()
        self._client = httpx.Client(base_url=gateway.url, timeout=60)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, dialect: str, body: dict[str, Any], model: str, *, stream: bool, key: str = "") -> httpx.Response:
        """Send one request as that dialect's client does."""
        sent = dialects.headers(dialect, key or self.key)
        return self._client.post(dialects.path(dialect, model, stream=stream), json=body, headers=sent)

    def say(self, dialect: str, model: str, prompt: str, *, stream: bool, **options: Any) -> dialects.Said:
        """Ask and understand the answer."""
        body = dialects.request(dialect, model, prompt, stream=stream, **options)
        answer = self.ask(dialect, body, model, stream=stream)
        assert answer.status_code == 200, answer.text
        said = dialects.read_stream(dialect, answer.content) if stream else dialects.read(dialect, answer.content)
        said.request_id = answer.headers["request-id"]  # type: ignore[attr-defined]  # for the comparison of books
        return said


@contextlib.contextmanager
def started(folder: Path, accounts: int, **env: str) -> Iterator[Stack]:
    """Start a gateway with so many accounts of each provider."""
    names = {provider: [f"{letter}{index}" for index in range(accounts)] for provider, letter in LETTERS.items()}
    simulator = Simulator(
        folder,
        [name for each in names.values() for name in each],
        keep_bodies=True,
        own={name: {"compatible": True} for name in names["OpenAICompatible"]},
    )
    model = {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "local-llama"},
        "spec": {
            "ownedBy": "meta",
            "contextTokens": 128000,
            "maxOutputTokens": 8192,
            "prices": [
                {
                    "effectiveTime": "2026-01-01T00:00:00Z",
                    "inputPerMillionTokens": "0.10",
                    "outputPerMillionTokens": "0.40",
                }
            ],
        },
    }
    documents = [
        plan("open", maxConcurrentRequests=4096, messagesTranslation="Allow"),
        plan("strict", translation="Deny"),
        model,
    ]
    for provider, each in names.items():
        base = f"{simulator.url}/v1" if provider.startswith("OpenAI") else simulator.url
        spec = {"provider": provider} | ({"models": ["local-*"]} if provider == "OpenAICompatible" else {})
        for name in each:
            documents += account(name, base, f"sim-key-{name}", **spec)
    gateway = Gateway(folder, documents, env=env)
    try:
        with contextlib.closing(Stack(gateway, simulator)) as both:
            yield both
    finally:
        gateway.end()
        simulator.end()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(tmp_path_factory.mktemp("translation"), 1) as both:
        yield both


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Enough accounts that one that cools down is not missed."""
    with started(tmp_path_factory.mktemp("translation-many"), 24) as both:
        yield both


def books_agree(stack: Stack, said: dialects.Said, tokens: bool = True) -> dict[str, Any]:
    """Compare one request's row with what the upstream reported, and with what the client was told."""
    name = said.request_id  # type: ignore[attr-defined]  # see Stack.say

    def ended() -> Any:
        return [record for record in stack.simulator.records(request_id=name) if record["state"] != "open"]

    (record,) = wait_until("the upstream's record is whole", ended)

    def row() -> Any:
        answer = httpx.get(f"{stack.gateway.url}/v1/usage/{name}", headers={"x-api-key": stack.key}, timeout=90)
        return answer.json() if answer.status_code == 200 else None

    shown = wait_until("the request has its row", row)
    upstream = record["usage"]
    assert shown["input_tokens"] == upstream["input_tokens"]
    assert shown["cache_read_input_tokens"] == upstream["cache_read_input_tokens"]
    assert shown["output_tokens"] == upstream["output_tokens"]
    whole = sum(upstream[n] for n in upstream if n.endswith("input_tokens"))
    if tokens:
        assert said.usage == (whole, upstream["output_tokens"]), "the client is told what the books say"
    return dict(shown)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("dialect", "provider"), PAIRS)
def test_text_goes_through(stack: Stack, dialect: str, provider: str, stream: bool) -> None:
    said = stack.say(dialect, MODELS[provider], '[[sim: say="the blue door" thinking=0]] hi', stream=stream)
    assert (said.text, said.stop, said.calls) == ("the blue door", "stop", [])
    books_agree(stack, said)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("dialect", "provider"), PAIRS)
def test_an_answer_that_is_cut_short_says_so(stack: Stack, dialect: str, provider: str, stream: bool) -> None:
    said = stack.say(dialect, MODELS[provider], "[[sim: tokens=500 thinking=0]] hi", stream=stream, most=32)
    assert said.stop == "length"
    books_agree(stack, said)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("dialect", "provider"), PAIRS)
def test_tools_are_called_and_their_results_are_heard(stack: Stack, dialect: str, provider: str, stream: bool) -> None:
    model, prompt = MODELS[provider], "[[sim: tool=weather tools=2]] how is it?"
    if stream:
        streamed = stack.say(dialect, model, prompt, stream=True, tools=True)
        assert [call["name"] for call in streamed.calls] == ["weather", "weather"]
        assert all("city" in call["input"] for call in streamed.calls)
        books_agree(stack, streamed)
    said = stack.say(dialect, model, prompt, stream=False, tools=True)
    assert said.stop == "tool"
    assert [call["name"] for call in said.calls] == ["weather", "weather"]
    books_agree(stack, said)
    body = dialects.second_turn(dialect, model, prompt, said, "[[sim: say=sunny tool=]] 21 degrees", stream=stream)
    body = json.loads(json.dumps(body).replace("tool=weather tools=2", "say=sunny"))
    answer = stack.ask(dialect, body, model, stream=stream)
    assert answer.status_code == 200, answer.text
    heard = (dialects.read_stream if stream else dialects.read)(dialect, answer.content)
    assert heard.calls == [] or heard.stop == "tool"


PNG = re.compile(rb"iVBORw0KGgo[A-Za-z0-9+/=]*")


@pytest.mark.parametrize("model", ["gemini-2.5-flash-image", "gemini-3-pro-image"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_image_that_a_model_makes_arrives_and_comes_back(
    stack: Stack, dialect: str, stream: bool, model: str
) -> None:
    prompt = "[[sim: say=there image_bytes=1500000 thinking=0]] a cat"
    body = dialects.request(dialect, model, prompt, stream=stream, most=4000)
    answer = stack.ask(dialect, body, model, stream=stream)
    assert answer.status_code == 200, answer.text
    said = (dialects.read_stream if stream else dialects.read)(dialect, answer.content)
    said.request_id = answer.headers["request-id"]  # type: ignore[attr-defined]  # for the comparison of books
    assert (said.text, said.stop) == ("there", "stop")
    (image,) = set(PNG.findall(answer.content))
    assert len(base64.b64decode(image)) == 1_500_000
    assert books_agree(stack, said)["output_tokens"] == 2 + 1290
    if stream:
        return
    # Both models want to see what they made, and the newer one also its signature.
    history = {"gemini": "contents", "openai_responses": "input"}.get(dialect, "messages")
    turns = said.turn if isinstance(said.turn, list) else [said.turn]
    again = body | {history: [*body[history], *turns, body[history][0]]}
    moved = stack.ask(dialect, again, model, stream=False)
    assert moved.status_code == 200, moved.text
    assert "penstock-ignored-fields" not in moved.headers
    (record,) = stack.simulator.records(request_id=moved.headers["request-id"])
    assert PNG.findall(stack.simulator.body(record)) == [image]


@pytest.mark.parametrize("dialect", ["openai_chat", "gemini"])
def test_images_are_asked_only_of_who_makes_them(stack: Stack, dialect: str) -> None:
    body = dialects.request(dialect, "claude-haiku-4-5", "a cat")
    if dialect == "gemini":
        body["generationConfig"]["responseModalities"] = ["IMAGE"]
    else:
        body["modalities"] = ["image"]
    answer = stack.ask(dialect, body, "claude-haiku-4-5", stream=False)
    assert (answer.status_code, "text only" in answer.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize(("dialect", "provider"), PAIRS)
@pytest.mark.parametrize("fault", ["stream_error_after", "cut_mid_stream", "end_early", "cut_mid_chunk"])
def test_a_stream_that_breaks_never_looks_whole(many: Stack, dialect: str, provider: str, fault: str) -> None:
    said = many.say(dialect, MODELS[provider], f"[[sim: fault={fault} after=3 thinking=0]] hi", stream=True)
    assert said.text
    assert said.stop == ""
    assert said.error


@pytest.mark.parametrize(("dialect", "provider"), PAIRS)
def test_errors_come_in_the_callers_own_envelope(stack: Stack, dialect: str, provider: str) -> None:
    model = MODELS[provider]
    for stream in (False, True):
        body = dialects.request(dialect, model, "[[sim: fault=400]] hi", stream=stream)
        answer = stack.ask(dialect, body, model, stream=stream)
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.headers["x-should-retry"] == "false"
        error = answer.json()["error"]
        assert error["message"]
        if dialect == "gemini":
            assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
        else:
            assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(("dialect", "provider"), PAIRS)
def test_a_plan_without_translation_serves_one_format(stack: Stack, dialect: str, provider: str) -> None:
    key = stack.gateway.key("strict", "strict")
    model = MODELS[provider]
    answer = stack.ask(dialect, dialects.request(dialect, model, "hi"), model, stream=False, key=key)
    if provider in NATIVE[dialect]:
        assert answer.status_code == 200, answer.text
    else:
        # /v1/messages is for Claude models alone, where the plan does not say otherwise.
        assert answer.status_code == (400 if dialect == "anthropic" else 403)
        assert "plan" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("dialect", "provider"), [(d, provider) for d, native in NATIVE.items() for provider in native]
)
def test_the_same_wire_format_passes_byte_for_byte(stack: Stack, dialect: str, provider: str) -> None:
    model = MODELS[provider]
    body = json.dumps(dialects.request(dialect, model, "h\u2028i"), indent=1, ensure_ascii=False).encode()
    sent = dialects.headers(dialect, stack.key)
    answer = httpx.post(stack.gateway.url + dialects.path(dialect, model), content=body, headers=sent, timeout=90)
    assert answer.status_code == 200, answer.text
    (record,) = stack.simulator.records(request_id=answer.headers["request-id"])
    assert stack.simulator.body(record) == body


@pytest.mark.parametrize("provider", ["Anthropic", "OpenAI", "Gemini"])
@pytest.mark.parametrize("dialect", ["anthropic", "openai_responses", "gemini"])
def test_thinking_goes_back_to_who_signed_it_and_to_nobody_else(stack: Stack, dialect: str, provider: str) -> None:
    """The simulator refuses every signature that is not its own, as the providers do."""
    model, prompt = MODELS[provider], "[[sim: thinking=20 say=well]] hi"
    body = dialects.request(dialect, model, prompt, most=4000)
    thinking = {
        "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "openai_responses": {"reasoning": {"effort": "low", "summary": "auto"}},
        "gemini": {},
    }[dialect]
    body |= thinking
    if dialect == "gemini":
        body["generationConfig"]["thinkingConfig"] = {"includeThoughts": True, "thinkingBudget": 1024}
    answer = stack.ask(dialect, body, model, stream=False)
    assert answer.status_code == 200, answer.text
    said = dialects.read(dialect, answer.content)
    turns = said.turn if isinstance(said.turn, list) else [said.turn]
    native = provider in NATIVE[dialect]
    # Gemini itself signs no mere text.
    signed = any(word in json.dumps(turns) for word in ('"signature"', '"encrypted_content"', '"thoughtSignature"'))
    assert signed or (native and provider == "Gemini")
    history = {"gemini": "contents", "openai_responses": "input", "anthropic": "messages"}[dialect]
    again = json.loads(json.dumps(body))
    again[history] = [*again[history], *turns, again[history][0]]
    same = stack.ask(dialect, again, model, stream=False)
    assert same.status_code == 200, same.text
    assert "signed by" not in same.headers.get("penstock-ignored-fields", "")
    if native:
        # On its own wire a signature has no tag: it is of unknown origin and passes as it is.
        return
    for other in set(MODELS.values()) - {model}:
        if dialect != "gemini":
            again["model"] = other
        moved = stack.ask(dialect, again, other, stream=False)
        assert moved.status_code == 200, moved.text
        assert "thinking" in moved.headers["penstock-ignored-fields"]


KNOBS = st.fixed_dictionaries(
    {
        "tokens": st.integers(1, 120),
        "chunks": st.integers(1, 12),
        "thinking": st.sampled_from([0, 16]),
        "text": st.sampled_from(["ascii", "unicode"]),
        "split": st.booleans(),
    }
)


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(pair=st.sampled_from(PAIRS), stream=st.booleans(), knobs=KNOBS, tool=st.booleans(), padding=st.integers(0, 6000))
def test_no_pair_loses_or_doubles_a_token(
    stack: Stack, pair: tuple[str, str], stream: bool, knobs: dict[str, Any], tool: bool, padding: int
) -> None:
    dialect, provider = pair
    words = {name: int(value) if isinstance(value, bool) else value for name, value in knobs.items()}
    if tool:
        words["tool"] = "weather"
    directive = " ".join(f"{name}={value}" for name, value in words.items())
    prompt = f"{'x' * padding} [[sim: {directive}]]"
    said = stack.say(dialect, MODELS[provider], prompt, stream=stream, tools=tool)
    note(f"{dialect} to {provider}, {'streamed' if stream else 'unary'}: {directive}")
    assert bool(said.calls) is tool
    shown = books_agree(stack, said)
    assert shown["state"] == "complete"
    assert shown["attempts"] == 1


FAULTS = st.sampled_from(["500", "529", "cut_before_headers", "cut_mid_stream", "stream_error_before", "end_early"])


@settings(
    max_examples=examples(20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(pair=st.sampled_from(PAIRS), fault=FAULTS, stream=st.booleans(), after=st.integers(0, 2))
def test_attempts_that_fail_are_in_the_books_too(
    many: Stack, pair: tuple[str, str], fault: str, stream: bool, after: int
) -> None:
    """One failed attempt, then whatever comes: upstream totals, summed over attempts, are what upstreams reported."""
    dialect, provider = pair
    model = MODELS[provider]
    prompt = f"[[sim: fault={fault} after={after} times=1 thinking=0 tokens=40]] hi"
    body = dialects.request(dialect, model, prompt, stream=stream)
    answer = many.ask(dialect, body, model, stream=stream)
    name = answer.headers["request-id"]

    def row() -> Any:
        return next((row for row in many.gateway.usage() if row["request_id"] == name), None)

    shown = wait_until("the request has its row", row)
    records = wait_until(
        "the upstreams' records are whole",
        lambda: (
            (found := many.simulator.records(request_id=name)) and all(r["state"] != "open" for r in found) and found
        ),
    )
    assert [attempt["account"] for attempt in shown["attempts"]] == [record["account"] for record in records]
    for attempt, record in zip(shown["attempts"], records, strict=True):
        if record["reported"] and not attempt["estimated"]:
            usage = record["usage"]
            assert attempt["input_tokens"] == usage["input_tokens"]
            # A stream that broke off may have reported more than the canonical form hears of it before its end.
            assert attempt["output_tokens"] <= max(usage["output_tokens"], record["relayed_tokens"])
            if attempt["class"] == "Ok":
                assert attempt["output_tokens"] == usage["output_tokens"]
    if answer.status_code == 200 and shown["state"] == "complete":
        said = (dialects.read_stream if stream else dialects.read)(dialect, answer.content)
        assert said.usage == (
            sum(records[-1]["usage"][n] for n in records[-1]["usage"] if n.endswith("input_tokens")),
            records[-1]["usage"]["output_tokens"],
        )


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses"])
def test_who_names_a_conversation_finds_its_beginning_cached(stack: Stack, dialect: str) -> None:
    model = MODELS["Anthropic"]
    body = dialects.request(dialect, model, f"The rules of {dialect}. " * 800, stream=False)
    body["prompt_cache_key"] = f"conversation-{dialect}"
    rows = []
    for _ in range(2):
        answer = stack.ask(dialect, body, model, stream=False)
        assert answer.status_code == 200, answer.text
        said = dialects.read(dialect, answer.content)
        said.request_id = answer.headers["request-id"]  # type: ignore[attr-defined]  # for the comparison of books
        rows.append(books_agree(stack, said))
    first, second = rows
    assert (first["cache_read_input_tokens"], second["cache_creation_input_tokens"]) == (0, 0)
    assert first["cache_creation_input_tokens"] == second["cache_read_input_tokens"] > 4_000
    assert second["cost_micro"] < first["cost_micro"] / 2
