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


def test_where_nobody_serves_there_is_still_a_command(tmp_path):
    assert sample.choose(compiled(tmp_path, plan(), key()), NOW_MS).secret_name == "ci-key"
    assert sample.choose(compiled(tmp_path, account()), NOW_MS) is None
    assert sample.choose(compiled(tmp_path, account(), plan(models=["gpt-*"])), NOW_MS) is None


def test_the_command_is_one_line_for_any_shell():
    command = sample.curl("http://127.0.0.1:8080", "claude-haiku-4-5", "psk_x")
    assert "\n" not in command
    words = shlex.split(command)
    assert words[:3] == ["curl", "-sS", "http://127.0.0.1:8080/v1/messages"]
    assert json.loads(words[-1])["messages"][0]["content"] == "Hello"
