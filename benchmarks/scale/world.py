"""What the processes are told: catalogs of any size, and keys, projects and usage rows put into SQL at once.

Names follow numbers, so that every process knows the keys without being sent them: key n has the digest of its name,
belongs to project n modulo the number of projects, and follows the plan that n modulo ten says.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock_catalog import documents
from penstock_catalog.builtin import built_in_models
from penstock_catalog.documents import Account, AuthCatalog, Capacity, DeclaredKey, Plan, PlanLimit, RouterCatalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODELS_PER_ACCOUNT = 12
PREPAID, TIGHT, ROOMY, OPEN = "prepaid", "tight", "roomy", "open"
BALANCE = 10**12


@dataclass(frozen=True)
class Size:
    """How large a world is."""

    edges: int
    keys: int
    declared: int
    projects: int
    accounts: int
    rows: int
    """Requests in the ledger."""


def plan_of(number: int) -> str:
    """One key in ten is prepaid, one has a small limit, one has no window at all."""
    return {0: PREPAID, 1: TIGHT, 2: OPEN}.get(number % 10, ROOMY)


def digest_of(number: int) -> bytes:
    """Return the digest that key n is found by."""
    return hashlib.sha256(f"key-{number}".encode()).digest()


def key_id(number: int) -> str:
    """Return the public id of key n."""
    return f"k{number:011d}"


def project_of(number: int, projects: int) -> str:
    """Return the project of key n."""
    return f"project-{number % projects:05d}"


def keys_with(plan: str, count: int, first: int = 0) -> list[int]:
    """Return so many keys that follow a plan, from key `first` on."""
    found = []
    number = first
    while len(found) < count:
        if plan_of(number) == plan:
            found.append(number)
        number += 1
    return found


def plans() -> tuple[Plan, ...]:
    """Return a roomy plan (two windows), a tight one, a prepaid one, and one without windows."""
    minute = 60_000
    per_minute = PlanLimit(name="requests", unit="Requests", amount=6_000, window_ms=minute)
    tokens = PlanLimit(name="tokens", unit="TotalTokens", amount=40_000_000, window_ms=minute)
    few = PlanLimit(name="requests", unit="Requests", amount=60, window_ms=minute)
    return (
        Plan(name=ROOMY, limits=(per_minute, tokens), max_concurrent_requests=1_000),
        Plan(name=TIGHT, limits=(few, tokens), max_concurrent_requests=1_000),
        Plan(name=PREPAID, limits=(per_minute,), max_concurrent_requests=1_000, credit="Required"),
        Plan(name=OPEN, max_concurrent_requests=1_000),
    )


def router_catalog(accounts: int, *, limited: bool = True, weight: int = 100) -> RouterCatalog:
    """Make accounts of which each serves a dozen models; `weight` is of the first one."""
    names = [model.name for model in built_in_models() if model.prices]
    models = tuple(sorted(names[:MODELS_PER_ACCOUNT]))
    capacity = Capacity(requests_per_minute=4_000, tokens_per_minute=2_000_000, max_concurrent_requests=200)
    return RouterCatalog(
        models=built_in_models(),
        accounts=tuple(
            Account(
                name=f"account-{number:05d}",
                provider="Anthropic",
                base_url="https://api.example.com",
                api_key="sk-" + hashlib.sha256(str(number).encode()).hexdigest() * 2,
                credential_hash=hashlib.sha256(str(number).encode()).hexdigest()[:12],
                models=models,
                weight=weight if number == 0 else 100,
                limits=capacity if limited else Capacity(),
            )
            for number in range(accounts)
        ),
    ).sealed()


def auth_catalog(declared: int, projects: int) -> AuthCatalog:
    """Make plans, prices and declared keys."""
    return AuthCatalog(
        plans=plans(),
        models=built_in_models(),
        api_keys=tuple(
            DeclaredKey(
                name=f"declared-{number}",
                id=f"d{number:011d}",
                prefix=f"psk_d{number:011d}",
                digest=hashlib.sha256(f"declared-{number}".encode()).hexdigest(),
                project=project_of(number, projects),
                plan=ROOMY,
            )
            for number in range(declared)
        ),
    ).sealed()


def write_catalogs(folder: Path, size: Size) -> None:
    """Write both documents."""
    documents.write(folder / "router.json", router_catalog(size.accounts))
    documents.write(folder / "auth.json", auth_catalog(size.declared, size.projects))


def project_rows(size: Size) -> Iterator[dict[str, Any]]:
    """Return the projects, all with money."""
    now_ms = time.time_ns() // 1_000_000
    for number in range(size.projects):
        name = project_of(number, size.projects)
        yield {"name": name, "state": "Active", "balance_micro": BALANCE, "version": 1, "created_at_ms": now_ms}


def key_rows(size: Size) -> Iterator[dict[str, Any]]:
    """Return the self-service keys."""
    now_ms = time.time_ns() // 1_000_000
    for number in range(size.keys):
        yield {
            "id": key_id(number),
            "digest": digest_of(number),
            "prefix": f"psk_{key_id(number)}",
            "project": project_of(number, size.projects),
            "plan": plan_of(number),
            "name": f"key {number}",
            "state": "Active",
            "source": "SelfService",
            "expires_at_ms": 0,
            "spend_limit_micro": 0,
            "spend_limit_period": "Total",
            "created_at_ms": now_ms - size.keys + number,
            "counted_as": "",
        }


def usage_rows(size: Size, price_digest: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Return settlements, each with its one attempt, spread over the last day and all keys."""
    now_ms = time.time_ns() // 1_000_000
    usage = {
        "input_tokens": 250,
        "output_tokens": 300,
        "cache_read_input_tokens": 0,
        "cache_write_5m_input_tokens": 0,
        "cache_write_1h_input_tokens": 0,
    }
    for number in range(size.rows):
        key = number * 7919 % size.keys
        at = now_ms - 86_400_000 * (size.rows - number) // size.rows
        request_id = f"req_old_{number:012d}"
        settlement = {
            "request_id": request_id,
            "project": project_of(key, size.projects),
            "key_id": key_id(key),
            "model": "claude-haiku-4-5",
            "state": "complete",
            "estimated": False,
            "streamed": True,
            "dialect": "anthropic",
            **usage,
            "cost_micro": 1_750,
            "price_digest": price_digest,
            "price_multiplier_ppm": 1_000_000,
            "edge_session": "es_old",
            "delivered": 0,
            "client_status": 200,
            "admitted_at_ms": at,
            "started_at_ms": at,
            "ended_at_ms": at + 2_000,
            "recorded_at_ms": at + 2_100,
        }
        attempt = {
            "request_id": request_id,
            "index": 0,
            "account": f"account-{number % size.accounts:05d}",
            "class": "Ok",
            "status": 200,
            **usage,
            "reported": True,
            "estimated": False,
            "cost_micro": 1_750,
            "upstream_request_id": f"req_up_{number:016d}",
            "upstream_model": "claude-haiku-4-5",
            "started_at_ms": at,
            "first_byte_ms": 300,
            "duration_ms": 2_000,
        }
        yield settlement, attempt
