"""The request that the banner shows: which model, which key. Pure."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_catalog import names
from penstock_catalog.resources import APIKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from penstock_catalog.compiler import Compiled
    from penstock_catalog.documents import Model, Plan

FAVOURITES = ("claude-haiku-4-5", "gpt-6-luna", "gemini-3.5-flash-lite")
"""Cheap models of each provider, which say something to a greeting."""

MESSAGES = "/v1/messages"
CHAT = "/v1/chat/completions"
_MOST_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """A model, and a key for it: a declared one by its Secret's name, else one that `plan` is made for.

    `path` is `/v1/messages` wherever the plan lets that reach the model.
    """

    model: str
    secret_name: str | None
    plan: str | None
    needs_credit: bool = False
    path: str = MESSAGES


def choose(compiled: Compiled, now_ms: int) -> Sample | None:
    """Choose what is most likely to answer; None where no plan gives anybody anything."""
    candidates = _in_order(_served(compiled) or compiled.router.models, now_ms)
    plans = {plan.name: plan for plan in compiled.auth.plans}
    for plan, secret_name in _declared(compiled, plans, now_ms):
        found = _first(candidates, plan)
        if found is not None and plan.credit == "NotRequired":
            model, path = found
            return Sample(model, secret_name, plan.name, path=path)
    for plan in sorted(plans.values(), key=lambda plan: plan.credit == "Required"):
        found = _first(candidates, plan)
        if found is not None:
            model, path = found
            return Sample(model, None, plan.name, needs_credit=plan.credit == "Required", path=path)
    return None


def curl(base: str, chosen: Sample, key: str) -> str:
    """Return the command, one line that any shell takes."""
    body: dict[str, object] = {"model": chosen.model, "messages": [{"role": "user", "content": "Hello"}]}
    headers = ["content-type: application/json"]
    if chosen.path == MESSAGES:
        body["max_tokens"] = _MOST_TOKENS
        headers[:0] = [f"x-api-key: {key}", "anthropic-version: 2023-06-01"]
    else:
        headers[:0] = [f"authorization: Bearer {key}"]
    words = ["curl", "-sS", f"{base}{chosen.path}"]
    for header in headers:
        words += ["-H", header]
    return shlex.join([*words, "-d", json.dumps(body)])


def _served(compiled: Compiled) -> list[Model]:
    """List the models that some account serves now."""
    open_for_business = {
        model
        for account in compiled.router.accounts
        if account.mode == "Active" and not account.not_served
        for model in account.models
    }
    return [model for model in compiled.router.models if model.name in open_for_business]


def _in_order(models: Iterable[Model], now_ms: int) -> list[Model]:
    """Put the favourites first, and last what is retired or can hardly say a word, such as embeddings."""

    def rank(model: Model) -> tuple[int, bool, bool]:
        favour = FAVOURITES.index(model.name) if model.name in FAVOURITES else len(FAVOURITES)
        return favour, 0 < model.retires_at_ms <= now_ms, model.max_output_tokens < _MOST_TOKENS

    return sorted(models, key=rank)


def _first(models: Sequence[Model], plan: Plan) -> tuple[str, str] | None:
    """Choose a model that the plan allows, and the path to it."""
    allowed = [model for model in models if names.matches(plan.models, names.spoken_of(model))]
    for model in allowed:
        if model.owned_by == "anthropic" or plan.messages_translation == plan.translation == "Allow":
            return model.name, MESSAGES
    return (allowed[0].name, CHAT) if allowed else None


def _declared(compiled: Compiled, plans: dict[str, Plan], now_ms: int) -> Iterator[tuple[Plan, str]]:
    """Give plan and Secret name of each declared key that works now."""
    secrets = {
        status.resource.name: status.resource.spec.secret_name
        for status in compiled.statuses
        if isinstance(status.resource, APIKey) and status.ready
    }
    for key in compiled.auth.api_keys:
        expired = key.expires_at_ms and key.expires_at_ms <= now_ms
        if key.name in secrets and key.plan in plans and key.mode == "Active" and not expired:
            yield plans[key.plan], secrets[key.name]
