"""Both stores give the same answers to the same story, word for word."""

from __future__ import annotations

import dataclasses

import pytest

from penstock_auth import counters_redis
from tests.contract.counters.conftest import flush
from tests.contract.counters.test_machine import Machine


class Teller(Machine):
    """Writes down every answer but the epochs' names.

    Left out: flushes that an auth does not know of, and clocks that were set back (Redis forgets less time in a loss).
    """

    def new_store(self) -> None:
        super().new_store()
        self.told = getattr(self, "told", [])
        store, allow = self.world.store, self.world.store.allow

        async def told(call):
            result = await allow(call)
            self.told.append((self.world.now, call.session, call.seq, dataclasses.replace(result, epoch="")))
            return result

        store.allow = told

    def trouble(self, what, **around) -> None:
        if what != "step back":
            super().trouble(what, **around)

    def lose(self, *, unnoticed: bool) -> None:
        super().lose(unnoticed=False)
        if self.url:
            flush(self.url)


@pytest.mark.parametrize("seed", range(4))
def test_both_stores_answer_the_same(seed, redis_url, monkeypatch):
    # How old a view of the sessions may be is Redis's own affair.
    monkeypatch.setattr(counters_redis, "VIEW_MS", 0)
    monkeypatch.setattr(counters_redis, "HURRIED_VIEW_MS", 0)
    stories = []
    for url in ("", redis_url):
        machine = type("OneTeller", (Teller,), {"url": url})()
        machine.begin(1 + seed % 3, seed, acts=250)
        stories.append(machine.told)
        machine.run(machine.world.store.close())
        machine.loop.close()
    for one, other in zip(*stories, strict=True):
        assert one == other
    assert len(stories[0]) > 200
