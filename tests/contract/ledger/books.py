"""What the ledger's tests share: a project with a key and a price, settlements to taste, and the sums that must agree."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import msgspec
from sqlalchemy import func, select

from penstock_auth import credit, keys, price_book, projects
from penstock_auth.ledger import Ledger
from penstock_auth.postings import Incoming
from penstock_auth.pricing import Usage
from penstock_auth.settlement import Attempt, Settlement, State
from penstock_auth.tables import api_keys, attempts, credit_entries, key_spend, quarantine, settlements
from penstock_auth.tables import projects as project_rows
from penstock_catalog import api_key
from penstock_catalog.prices import PriceRow

NOW = 1_780_000_000_000  # 2026-05-28
PRICE = PriceRow(
    effective_at_ms=0,
    input=3_000_000,
    output=15_000_000,
    cache_write_5m=3_750_000,
    cache_write_1h=6_000_000,
    cache_read=300_000,
    long_context_above=200_000,
    long_context_input=6_000_000,
    long_context_output=22_500_000,
    long_context_cache_write_5m=7_500_000,
    long_context_cache_write_1h=12_000_000,
    long_context_cache_read=600_000,
)


USUAL = Usage(1000, 100)


def attempt(index: int = 0, usage: Usage = USUAL, **changes) -> Attempt:
    made = Attempt(
        index=index,
        account=f"account-{index}",
        cls="Ok",
        status=200,
        usage=usage,
        reported=True,
        estimated=False,
        upstream_request_id=f"up-{index}",
        upstream_model="m",
        started_at_ms=NOW,
        first_byte_ms=5,
        duration_ms=50,
    )
    return msgspec.structs.replace(made, **changes)


def settlement(request_id: str = "req_1", **changes) -> Settlement:
    made = Settlement(
        request_id=request_id,
        edge_session="edge-session-1",
        key_id="k1",
        project="demo",
        model="claude-x",
        dialect="anthropic",
        price_digest=PRICE.digest,
        price_multiplier_ppm=1_000_000,
        admitted_at_ms=NOW,
        started_at_ms=NOW,
        ended_at_ms=NOW + 60,
        state=State.COMPLETE,
        estimated=False,
        delivered=0,
        attempts=(attempt(),),
        streamed=False,
        client_status=200,
    )
    return msgspec.structs.replace(made, **changes)


def incoming(made: Settlement) -> Incoming:
    return Incoming(made.request_id, made.edge_session, lambda: repr(made).encode(), made)


class Books:
    """A ledger on a database, with a clock of its own."""

    def __init__(self, database) -> None:
        self.database = database
        self.now = NOW
        self.seconds = 0.0
        self.ledger = Ledger(
            database, now_ms=lambda: self.now, store_ms=lambda: self.now, monotonic=lambda: self.seconds
        )
        self._ids = itertools.count()

    async def set_up(self) -> None:
        def fill(connection):
            price_book.record_prices(connection, [PRICE], NOW)
            projects.ensure(connection, "demo", NOW)

        await self.database.write(fill)
        await self.add_key("k1")

    async def add_key(self, key_id: str, project: str = "demo", **order) -> keys.Key:
        secret = hashlib.sha512(key_id.encode()).digest()
        text = replace(api_key.generate("psk_", lambda count: (secret * 2)[:count]), id=key_id)
        wish = keys.KeyOrder(project=project, plan="team", **order)
        return await self.database.write(lambda c: keys.create(c, wish, text, 1000, self.now))

    async def settle(self, *made: Settlement):
        return await self.ledger.settle([incoming(each) for each in made])

    async def top_up(self, micro_usd: int, project: str = "demo") -> None:
        key = f"top-up-{next(self._ids)}"
        await self.database.write(
            lambda c: credit.add_entry(
                c,
                project=project,
                kind="topup",
                amount_micro=micro_usd,
                note="",
                idempotency_key=key,
                now_ms=self.now,
            )
        )

    async def count(self, table) -> int:
        return await self.database.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())

    async def balance(self, project: str = "demo") -> int:
        query = select(project_rows.c.balance_micro).where(project_rows.c.name == project)
        return await self.database.read(lambda c: c.execute(query).scalar_one())

    async def spent(self, key_id: str = "k1", period: str = "Total") -> int:
        query = select(key_spend.c.spent_micro).where(key_spend.c.key_id == key_id, key_spend.c.period == period)
        return await self.database.read(lambda c: c.execute(query).scalar()) or 0

    async def reasons(self) -> list[str]:
        return await self.database.read(
            lambda c: list(c.scalars(select(quarantine.c.reason).order_by(quarantine.c.id)))
        )

    async def assert_balanced(self) -> None:
        """Entries, balances, spend and settlements must tell one story."""

        def look(c):
            for name, balance in c.execute(select(project_rows.c.name, project_rows.c.balance_micro)).all():
                entries = c.execute(
                    select(credit_entries.c.amount_micro, credit_entries.c.balance_micro)
                    .where(credit_entries.c.project == name)
                    .order_by(credit_entries.c.id)
                ).all()
                running = 0
                for amount, after in entries:
                    running += amount
                    assert after == running
                assert balance == running
                charged = c.execute(
                    select(func.coalesce(func.sum(settlements.c.cost_micro), 0)).where(settlements.c.project == name)
                ).scalar_one()
                charges = c.execute(
                    select(func.coalesce(func.sum(credit_entries.c.amount_micro), 0)).where(
                        credit_entries.c.project == name, credit_entries.c.kind == "charge"
                    )
                ).scalar_one()
                assert charges == -charged
            for key_id, spent, carried in c.execute(
                select(key_spend.c.key_id, key_spend.c.spent_micro, key_spend.c.carried_micro).where(
                    key_spend.c.period == "Total"
                )
            ).all():
                family = select(api_keys.c.id).where((api_keys.c.id == key_id) | (api_keys.c.counted_as == key_id))
                charged = c.execute(
                    select(func.coalesce(func.sum(settlements.c.cost_micro), 0)).where(settlements.c.key_id.in_(family))
                ).scalar_one()
                assert spent == charged + carried
            orphans = select(func.count()).where(attempts.c.request_id.not_in(select(settlements.c.request_id)))
            assert c.execute(orphans).scalar_one() == 0

        await self.database.read(look)
