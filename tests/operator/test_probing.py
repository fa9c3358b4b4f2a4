"""When credentials are tried, and how often again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from penstock_catalog.documents import Account
from penstock_operator.credentials import Proof, trial_of
from penstock_operator.probing import Probing


class Router:
    def __init__(self):
        self.asked = []
        self.answers = {}

    async def try_out(self, account):
        await asyncio.sleep(0)
        self.asked.append(account.name)
        return self.answers.get(account.name, Proof("Ok", 200))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def account(name):
    return Account(
        name=name, provider="Anthropic", base_url="https://x.example", api_key=name, credential_hash=name, models=()
    )


def wanted(*names):
    return {trial_of(account(name)): account(name) for name in names}


class Stage:
    def __init__(self):
        self.router, self.clock, self.woken = Router(), Clock(), 0
        self.probing = Probing(self.router, wake=self.wake, again_seconds=600, monotonic=self.clock)

    def wake(self):
        self.woken += 1

    async def pass_time(self, seconds=0.0):
        self.clock.now += seconds
        self.probing._changed.set()
        for _ in range(50):
            await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.probing.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_new_is_tried_at_once_and_what_works_now_and_then():
    stage = Stage()
    async with stage.running():
        stage.probing.want(wanted("a"), frozenset())
        await stage.pass_time()
        assert stage.router.asked == ["a"]
        assert stage.probing.proof(trial_of(account("a"))) == Proof("Ok", 200)
        assert stage.woken == 1
        await stage.pass_time(400)
        assert stage.router.asked == ["a"]
        await stage.pass_time(201)
        assert stage.router.asked == ["a", "a"]
        assert stage.woken == 1, "the same again is no news"


async def test_what_fails_is_tried_after_ever_longer_times():
    stage = Stage()
    stage.router.answers["a"] = Proof("Refused", 401)
    async with stage.running():
        stage.probing.want(wanted("a"), frozenset())
        tries = []
        for second in range(1200):
            await stage.pass_time(1)
            if len(stage.router.asked) > len(tries):
                tries.append(second)
        gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
        assert 11 <= gaps[0] <= 16
        assert gaps == sorted(gaps) or max(gaps) > 200
        assert max(gaps) <= 301
        assert len(tries) < 12


async def test_without_a_router_it_is_tried_soon():
    stage = Stage()
    stage.router.answers["a"] = Proof("NoRouter")
    async with stage.running():
        stage.probing.want(wanted("a"), frozenset())
        await stage.pass_time()
        await stage.pass_time(1.1)
        assert stage.router.asked == ["a", "a"]


async def test_what_worked_before_a_restart_is_not_tried_at_once():
    stage = Stage()
    names = [str(number) for number in range(100)]
    async with stage.running():
        stage.probing.want(wanted(*names), frozenset(wanted(*names)))
        await stage.pass_time()
        assert len(stage.router.asked) < 5
        await stage.pass_time(300)
        assert 25 < len(stage.router.asked) < 75
        await stage.pass_time(301)
        assert set(stage.router.asked) == set(names)
        assert not stage.woken, "it works as it did"


@pytest.mark.parametrize("change", [{"allow_private_address": True}, {"provider": "OpenAI"}])
async def test_what_failed_is_tried_at_once_when_it_is_asked_in_another_way(change):
    stage = Stage()
    stage.router.answers["a"] = Proof("Failed")
    async with stage.running():
        stage.probing.want(wanted("a"), frozenset())
        await stage.pass_time()
        stage.router.answers.clear()
        changed = account("a").model_copy(update=change)
        stage.probing.want({trial_of(changed): changed}, frozenset())
        await stage.pass_time()
        assert stage.probing.proof(trial_of(changed)) == Proof("Ok", 200)


async def test_what_is_no_longer_wanted_is_forgotten():
    stage = Stage()
    async with stage.running():
        stage.probing.want(wanted("a"), frozenset())
        await stage.pass_time()
        stage.probing.want({}, frozenset())
        assert stage.probing.proof(trial_of(account("a"))) is None
        await stage.pass_time(1000)
        assert stage.router.asked == ["a"]
