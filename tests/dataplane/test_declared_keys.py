"""Declared keys on real processes: both texts of a rotated key, the end of the one before, and revocation."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from penstock_catalog import api_key, documents
from penstock_catalog.documents import AuthCatalog, DeclaredKey, PreviousKey
from tests.client import payload
from tests.stack import plan, running, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack import Gateway

pytestmark = pytest.mark.xdist_group("declared-keys")

OVERLAP_SECONDS = 2.5
PLANS = [plan("open"), plan("few", limits=[{"name": "m", "unit": "Requests", "amount": 4, "window": "5m"}])]


class Catalog:
    """Auth's document, written as an operator writes it."""

    def __init__(self, gateway: Gateway) -> None:
        self.path = gateway.data_dir / "catalog" / "auth.json"

    def declare(self, *keys: DeclaredKey) -> None:
        document = documents.read(self.path, AuthCatalog)
        documents.write(self.path, document.model_copy(update={"api_keys": keys}).sealed())


def new_key() -> api_key.ApiKey:
    return api_key.generate("psk_", secrets.token_bytes)


def declared(text: api_key.ApiKey, plan_name: str, before: api_key.ApiKey, until: float) -> DeclaredKey:
    previous = PreviousKey(
        id=before.id, prefix=before.shown, digest=before.digest.hex(), expires_at_ms=int(until * 1000)
    )
    return DeclaredKey(
        name=f"ci-{plan_name}", id=text.id, prefix=text.shown, digest=text.digest.hex(), project="demo",
        plan=plan_name, previous=previous,
    )  # fmt: skip


def test_a_rotated_key_works_by_both_texts_and_a_revoked_one_by_none(tmp_path: Path) -> None:
    with running(tmp_path, plans=PLANS, accounts=("a",)) as (gateway, _), httpx.Client(timeout=90) as client:

        def ask(key: api_key.ApiKey) -> int:
            answer = client.post(f"{gateway.url}/v1/messages", content=payload(), headers={"x-api-key": key.text})
            return answer.status_code

        catalog, later = Catalog(gateway), time.time() + 3600
        now, before, few, few_before = (new_key() for _ in range(4))
        catalog.declare(declared(now, "open", before, later), declared(few, "few", few_before, later))

        # The text before works like the one in force, and rows say which was used.
        wait_until("the keys are known", lambda: ask(now) == 200)
        assert [ask(before), ask(now)] == [200, 200]
        rows = wait_until("requests are settled", lambda: len(rows := gateway.usage()) >= 3 and rows)
        assert {row["key_id"] for row in rows} == {now.id, before.id}

        # One limit for both: four requests, whichever text they come with.
        answers = [ask(each) for each in (few_before, few, few_before, few, few_before, few)]
        assert answers.count(200) <= 4
        assert answers[-2:] == [429, 429]

        # Its time ends it, without a word from anybody.
        until = time.time() + OVERLAP_SECONDS
        key = declared(now, "open", before, until)
        catalog.declare(key)
        wait_until("the text before has ended", lambda: ask(before) == 401)
        assert time.time() > until - 0.5
        assert ask(now) == 200
        catalog.declare(key.model_copy(update={"previous": None}))
        assert [ask(before), ask(now)] == [401, 200]

        # Revoked, it is refused by both texts; the quickest time is what the design gives, the others are the machine's.
        key = declared(now, "open", before, time.time() + 3600)
        took = [float("inf")]
        while min(took) >= 2.0 and len(took) <= 8:
            catalog.declare(key)
            wait_until("both texts work", lambda: [ask(now), ask(before)] == [200, 200])
            revoked_at = time.monotonic()
            catalog.declare(key.model_copy(update={"mode": "Revoked"}))
            wait_until("both texts are refused", lambda: [ask(now), ask(before)] == [401, 401], pause=0.02)
            took.append(time.monotonic() - revoked_at)
        assert min(took) < 2.0, took
