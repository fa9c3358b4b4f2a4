"""The request that the banner shows: which model, which key. Pure."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_catalog import names
from penstock_catalog.resources import APIKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from penstock_catalog.compiler import Compiled
    from penstock_catalog.documents import Model, Plan

FAVOURITE = "claude-haiku-4-5"


@dataclass(frozen=True, slots=True)
class Sample:
    """A model, and a key for it: a declared one by its Secret's name, else one that `plan` is made for."""

    model: str
    secret_name: str | None
    plan: str | None
    needs_credit: bool = False


def choose(compiled: Compiled, now_ms: int) -> Sample | None:
    """Choose what is most likely to answer; None where no plan gives anybody anything."""
    candidates = _served(compiled) or list(compiled.router.models)
    plans = {plan.name: plan for plan in compiled.auth.plans}
    for plan, secret_name in _declared(compiled, plans, now_ms):
        model = _first(candidates, plan)
        if model is not None and plan.credit == "NotRequired":
            return Sample(model, secret_name, plan.name)
    for plan in sorted(plans.values(), key=lambda plan: plan.credit == "Required"):
        model = _first(candidates, plan)
        if model is not None:
            return Sample(model, None, plan.name, needs_credit=plan.credit == "Required")
    return None


def curl(base: str, model: str, key: str) -> str:
    """Return the command, one line that any shell takes."""
    body = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
    headers = (f"x-api-key: {key}", "anthropic-version: 2023-06-01", "content-type: application/json")
    words = ["curl", "-sS", f"{base}/v1/messages"]
    for header in headers:
        words += ["-H", header]
    return shlex.join([*words, "-d", json.dumps(body)])


def _served(compiled: Compiled) -> list[Model]:
    """List the models that some account serves now, the favourite first."""
    open_for_business = {
        model
        for account in compiled.router.accounts
        if account.mode == "Active" and not account.not_served
        for model in account.models
    }
    served = [model for model in compiled.router.models if model.name in open_for_business]
    return sorted(served, key=lambda model: model.name != FAVOURITE)


def _first(models: Sequence[Model], plan: Plan) -> str | None:
    allowed = (model.name for model in models if names.matches(plan.models, names.spoken_of(model)))
    return next(allowed, None)


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
