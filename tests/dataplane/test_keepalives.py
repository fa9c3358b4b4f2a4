"""An upstream that is silent for a while: every SDK reads over the keep-alives that bridge it, and over an error behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anthropic
import httpx
import openai
import pytest
from google import genai

from tests import dialects
from tests.dataplane.test_translation import MODELS, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.dataplane.test_translation import Stack

pytestmark = pytest.mark.xdist_group("keepalives")

SILENCE = '[[sim: latency=600ms thinking=0 say="well, well"]]'
# A machine that stalls may let the first keep-alive be overtaken by what it waits for.
TRIES = 5


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(tmp_path_factory.mktemp("keepalives"), 8, PENSTOCK_EDGE_KEEPALIVE_SECONDS="0.2") as both:
        yield both


def by_anthropic(url: str, key: str, model: str) -> str:
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as client:
        message = {"role": "user", "content": SILENCE}
        with client.messages.stream(model=model, max_tokens=100, messages=[message]) as stream:  # type: ignore[list-item]  # a dict serves
            return stream.get_final_text()


def by_chat(url: str, key: str, model: str) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        message = {"role": "user", "content": SILENCE}
        with client.chat.completions.stream(model=model, messages=[message]) as stream:  # type: ignore[list-item]  # a dict serves
            return stream.get_final_completion().choices[0].message.content or ""


def by_responses(url: str, key: str, model: str) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        with client.responses.stream(model=model, input=SILENCE) as stream:
            return stream.get_final_response().output_text


def by_google(url: str, key: str, model: str) -> str:
    client = genai.Client(api_key=key, http_options={"base_url": url})
    return "".join(chunk.text or "" for chunk in client.models.generate_content_stream(model=model, contents=SILENCE))


def until(ask: Callable[[], httpx.Response], good: Callable[[httpx.Response], bool]) -> httpx.Response:
    """Ask until it is as it should be; fails when it never is."""
    for _ in range(TRIES):
        answer = ask()
        if good(answer):
            return answer
    raise AssertionError(f"{TRIES} times: {answer.status_code} {answer.content[:200]!r}")


@pytest.mark.parametrize("provider", ["Anthropic", "Gemini"])
@pytest.mark.parametrize("ask", [by_anthropic, by_chat, by_responses, by_google])
def test_an_sdk_reads_over_them(stack: Stack, ask: Callable[[str, str, str], str], provider: str) -> None:
    assert ask(stack.gateway.url, stack.key, MODELS[provider]) == "well, well"


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
def test_they_are_there(stack: Stack, dialect: str) -> None:
    model = MODELS["Anthropic"]
    body = dialects.request(dialect, model, SILENCE, stream=True)
    alive = {"anthropic": b"event: ping", "gemini": b"\n"}.get(dialect, b": keep-alive")
    answer = until(lambda: stack.ask(dialect, body, model, stream=True), lambda one: one.content.startswith(alive))
    assert dialects.read_stream(dialect, answer.content).text == "well, well"


def test_an_array_stays_one_while_it_is_kept_alive(stack: Stack) -> None:
    model = MODELS["OpenAI"]
    path = dialects.path("gemini", model, stream=True).partition("?")[0]
    body = dialects.request("gemini", model, SILENCE)
    url, headers = stack.gateway.url + path, {"x-goog-api-key": stack.key}
    answer = until(
        lambda: httpx.post(url, json=body, headers=headers, timeout=60), lambda one: one.content.startswith(b"\n")
    )
    assert "".join(p["text"] for c in answer.json() for p in c["candidates"][0]["content"]["parts"]) == "well, well"


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
def test_a_failure_behind_them_is_an_error_of_the_dialect(stack: Stack, dialect: str) -> None:
    model = MODELS["Gemini"]
    body = dialects.request(dialect, model, "[[sim: latency=400ms fault=500]]", stream=True)
    answer = until(lambda: stack.ask(dialect, body, model, stream=True), lambda one: one.status_code == 200)
    said = dialects.read_stream(dialect, answer.content)
    assert said.error
    assert said.stop == ""
