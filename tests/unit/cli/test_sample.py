"""Which model and key the banner shows."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from penstock_catalog import local
from penstock_catalog.reader import read_text
from penstock_cli.local import sample

NOW_MS = 1_790_000_000_000


def compiled(tmp_path: Path, *documents: str):
    resources = read_text("\n---\n".join(documents), "x.yaml")
    state = local.LocalCatalog(resources, tmp_path).publish()
    assert not state.refused, state.problems
    return state.compiled


def account(name="a", **spec):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"api-key": f"sk-{name}"}}
    fields = {"provider": "Anthropic", "auth": {"apiKey": {"secretRef": {"name": name, "key": "api-key"}}}, **spec}
    return f"{document('UpstreamAccount', name, fields)}\n---\n{json.dumps(secret)}"


def document(kind, name, spec):
    return json.dumps({"apiVersion": "penstock.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})


def plan(name="team", **spec):
    return document("Plan", name, spec)


def key(name="ci", plan="team", **spec):
    return document("APIKey", name, {"project": "demo", "planRef": {"name": plan}, "secretName": f"{name}-key", **spec})


def test_a_declared_key_and_the_favourite(tmp_path):
    chosen = sample.choose(compiled(tmp_path, account(), plan(), key()), NOW_MS)
    assert chosen == sample.Sample("claude-haiku-4-5", "ci-key", "team")


def test_a_model_that_is_served_and_allowed(tmp_path):
    got = compiled(
        tmp_path,
        account("a", models=["claude-opus-4-5"], mode="Draining"),
        account("b", models=["claude-sonnet-4-5", "claude-opus-4-1"]),
        plan(models=["claude-opus-*"]),
        key(),
    )
    assert sample.choose(got, NOW_MS).model == "claude-opus-4-1"


@pytest.mark.parametrize(
    "spec", [{"mode": "Revoked"}, {"expirationTime": "2026-01-01T00:00:00Z"}], ids=["revoked", "expired"]
)
def test_a_declared_key_that_does_not_work_is_passed_over(tmp_path, spec):
    chosen = sample.choose(compiled(tmp_path, account(), plan(), key(**spec)), NOW_MS)
    assert chosen.secret_name is None
    assert chosen.plan == "team"
    chosen = sample.choose(compiled(tmp_path, account(), plan(), key(**spec), key("other")), NOW_MS)
    assert chosen.secret_name == "other-key"


def test_a_plan_without_credit_comes_first(tmp_path):
    got = compiled(tmp_path, account(), plan("a", credit="Required"), plan("b"), key(plan="a"))
    assert sample.choose(got, NOW_MS) == sample.Sample("claude-haiku-4-5", None, "b")
    got = compiled(tmp_path, account(), plan("a", credit="Required"), key(plan="a"))
    assert sample.choose(got, NOW_MS) == sample.Sample("claude-haiku-4-5", None, "a", needs_credit=True)


@pytest.mark.parametrize(
    ("provider", "spec", "expected"),
    [
        ("OpenAI", {"messagesTranslation": "Allow"}, ("gpt-6-luna", sample.MESSAGES)),
        ("Gemini", {"messagesTranslation": "Allow"}, ("gemini-3.5-flash-lite", sample.MESSAGES)),
        ("OpenAI", {}, ("gpt-6-luna", sample.CHAT)),
        ("OpenAI", {"messagesTranslation": "Allow", "translation": "Deny"}, ("gpt-6-luna", sample.CHAT)),
        ("Anthropic", {"translation": "Deny"}, ("claude-haiku-4-5", sample.MESSAGES)),
    ],
)
def test_the_path_is_messages_wherever_that_reaches_the_model(tmp_path, provider, spec, expected):
    chosen = sample.choose(compiled(tmp_path, account(provider=provider), plan(**spec), key()), NOW_MS)
    assert (chosen.model, chosen.path) == expected


def test_a_model_that_messages_reaches_comes_first(tmp_path):
    got = compiled(tmp_path, account("a", provider="OpenAI"), account("b", models=["claude-sonnet-4-6"]), plan(), key())
    chosen = sample.choose(got, NOW_MS)
    assert (chosen.model, chosen.path) == ("claude-sonnet-4-6", sample.MESSAGES)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (["gpt-5.1-codex", "text-embedding-3-small", "gpt-4o"], "gpt-4o"),
        (["gpt-5.1-codex", "text-embedding-3-small"], "text-embedding-3-small"),
    ],
)
def test_what_is_retired_or_has_no_words_comes_last(tmp_path, models, expected):
    got = compiled(tmp_path, account(provider="OpenAI", models=models), plan(), key())
    assert sample.choose(got, NOW_MS).model == expected


def test_where_nobody_serves_there_is_still_a_command(tmp_path):
    assert sample.choose(compiled(tmp_path, plan(), key()), NOW_MS).secret_name == "ci-key"
    assert sample.choose(compiled(tmp_path, account()), NOW_MS) is None
    assert sample.choose(compiled(tmp_path, account(), plan(models=["gpt-*"])), NOW_MS) is None


def command(path):
    line = sample.curl("http://127.0.0.1:8080", sample.Sample("m", None, "team", path=path), "psk_x")
    assert "\n" not in line
    words = shlex.split(line)
    assert words[:2] == ["curl", "-sS"]
    body = json.loads(words[-1])
    assert body["messages"][0]["content"] == "Hello"
    assert body["model"] == "m"
    return words, body


def test_the_command_is_one_line_for_any_shell():
    words, body = command(sample.MESSAGES)
    assert words[2] == "http://127.0.0.1:8080/v1/messages"
    assert {"x-api-key: psk_x", "anthropic-version: 2023-06-01", "content-type: application/json"} <= set(words)
    assert body["max_tokens"] > 0


def test_the_command_for_chat_completions():
    words, body = command(sample.CHAT)
    assert words[2] == "http://127.0.0.1:8080/v1/chat/completions"
    assert {"authorization: Bearer psk_x", "content-type: application/json"} <= set(words)
    assert "max_tokens" not in body, "newer models refuse it"
