"""Many clients that come, leave and settle while auth fails in every way: nothing stays taken, and all goes back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import random
import time

import grpc
import pytest

from penstock_edge.key_facts import KeyFacts
from penstock_edge.records import Admitted, Need, Refused
from tests.unit.edge.admitting import QUICK, denial, edge_with
from tests.unit.edge.fake_auth import FakeAuth, facts

DIGESTS = [hashlib.sha256(bytes([number])).digest() for number in range(5)]
CLIENTS = 400
DENIALS = [
    denial(f"DENIAL_REASON_{reason}", valid_ms=10) for reason in ("REQUESTS", "RECOVERING", "DISABLED", "UNKNOWN_KEY")
]
CHANGES = [{"key_sha256": DIGESTS[0]}, {"project": "acme"}, {"plan": "pro"}, {"everything": True}]


class Forgetful(dict[str, int]):
    """Leases that came back: after a declaration an edge returns again what nobody acknowledged."""

    def __contains__(self, _: object) -> bool:
        return False


class Client:
    """One request, or a question who has the key; it may leave before the answer."""

    def __init__(self, edge, seed):
        self.edge, self.random = edge, random.Random(seed)

    def ask(self):
        digest, seconds = self.random.choice(DIGESTS), self.random.random() / 2
        if self.random.random() < 0.2:
            return self.edge.admission.identify(digest, time.monotonic() + seconds)
        amounts = [self.random.randint(1, 50) for _ in range(3)]
        need = Need(*amounts) if self.random.random() < 0.7 else Need(kind="count_tokens")
        return self.edge.admit(need, seconds, digest)

    async def run(self):
        asking = asyncio.create_task(self.ask())
        if self.random.random() < 0.3:
            await asyncio.sleep(self.random.random() / 50)
            asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            answer = await asking
            assert isinstance(answer, (Admitted, Refused, KeyFacts))
            if isinstance(answer, Admitted):
                await self.end(answer)

    async def end(self, admitted):
        for let_go in (self.edge.admission.ended, self.settle):
            await asyncio.sleep(self.random.random() / 10)
            let_go(admitted)
            let_go(admitted)

    def settle(self, admitted):
        self.edge.admission.settled(admitted, recorded=self.random.random() < 0.5)


async def chaos(auth, rng):
    """Let auth do something else every few milliseconds."""

    def swap_store():
        auth.answer_always = None if auth.answer_always else denial("DENIAL_REASON_STORE_DOWN")

    def swap_declare():
        auth.declare_down = not auth.declare_down

    def lose_memory():
        auth.epoch = f"e{rng.random()}"

    deeds = [
        *[lambda: setattr(auth, "allow_script", [rng.choice(["lose", grpc.StatusCode.UNAVAILABLE, *DENIALS])])] * 6,
        *[lambda: auth.change(skip=rng.choice([0, 0, 3]), **rng.choice(CHANGES))] * 4,
        *[swap_store, swap_store, swap_declare, lose_memory],
        lambda: setattr(auth, "allow_delay", rng.choice([0.0, 0.0, 0.05, 0.6])),
        lambda: setattr(auth, "life_ms", rng.choice([20, 200, 30_000])),
    ]
    while True:
        await asyncio.sleep(rng.random() / 20)
        rng.choice(deeds)()


def mend(auth):
    auth.key, auth.life_ms, auth.allow_delay = facts(), 200, 0.0
    auth.answer_always, auth.allow_script, auth.declare_down = None, [], False


async def served(edge, digest):
    while not isinstance(answer := await edge.admit(digest=digest), Admitted):
        await asyncio.sleep(0.02)
    edge.done(answer)


@pytest.mark.parametrize("policy", ["Closed", "Degraded"])
async def test_nothing_stays_taken(tmp_path, policy):
    rng = random.Random(policy)
    auth = FakeAuth()
    auth.returned = Forgetful()
    auth.key = facts(on_store_outage=policy)
    async with edge_with(auth, tmp_path, policy=dataclasses.replace(QUICK, max_keys=3)) as edge:
        trouble = asyncio.create_task(chaos(auth, rng))
        clients = []
        for seed in range(CLIENTS):
            clients.append(asyncio.create_task(Client(edge, seed).run()))
            await asyncio.sleep(0.004)
        await asyncio.gather(*clients)
        trouble.cancel()
        assert set(edge.admission.held().values()) == {0}
        mend(auth)
        edge.admission.everything_changed()
        async with asyncio.timeout(60):
            for digest in DIGESTS:
                await served(edge, digest)
            while any(edge.admission.lent().values()) or any(
                any(book.allowance.holdings.believed) for book in edge.admission._books
            ):
                await asyncio.sleep(0.02)
        for digest in DIGESTS:
            held = auth.held["s1", digest]
            assert (held.slots, held.input_tokens, held.output_tokens, held.micro_usd) == (0, 0, 0, 0)
