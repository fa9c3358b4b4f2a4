"""Declared keys in SQL: what all keys of one `APIKey` share, and what the ledger says of each."""

from __future__ import annotations

from contextlib import contextmanager

from sqlalchemy import event

from penstock_auth import keys
from penstock_auth.declared_keys import record_declared
from penstock_auth.key_book import KeyBook
from penstock_auth.keys import KeyState
from penstock_auth.plans import view
from penstock_auth.sessions import SessionBook
from penstock_auth.spend import read_spend
from penstock_auth.truth import SqlTruth
from penstock_auth.usage import show
from penstock_catalog.documents import AuthCatalog, DeclaredKey, Plan, PlanLimit, PreviousKey
from tests.contract.ledger.books import NOW, settlement

DAY = 86_400_000


def digest(key_id: str) -> str:
    return key_id.encode().hex().ljust(64, "0")


def previous(key_id: str, until: int = NOW + DAY) -> PreviousKey:
    return PreviousKey(id=key_id, prefix=f"psk_{key_id}", digest=digest(key_id), expires_at_ms=until)


def declared(key_id: str, **changes) -> DeclaredKey:
    facts = {"name": "ci", "project": "demo", "plan": "team", "spend_limit_micro": 10**6, "spend_limit_period": "Month"}
    return DeclaredKey(**{"id": key_id, "prefix": f"psk_{key_id}", "digest": digest(key_id), **facts, **changes})


async def record(books, *each, now=NOW):
    return await books.database.write(lambda c: record_declared(c, each, now))


async def known(books, key_id):
    return await books.database.read(lambda c: keys.get(c, key_id))


async def spent(books, *key_ids):
    found = await books.database.read(lambda c: read_spend(c, key_ids, NOW))
    return {key_id: (each.micro_usd, each.version & 0xFFFFFFFF) for key_id, each in found.items()}


async def test_both_texts_of_a_rotated_key_spend_from_one_limit_and_rows_name_the_one_used(books):
    await record(books, declared("one"))
    await books.settle(settlement("a", key_id="one"))
    recorded = await record(books, declared("two", previous=previous("one")), now=NOW + 1)
    assert recorded.counted_as == {"two": "one"}
    batch = await books.settle(settlement("b", key_id="two"), settlement("c", key_id="one"))
    assert batch.counters == {"one": "one", "two": "one/two"}
    assert await spent(books, "one", "two") == {"one": (13_500, 2), "two": (13_500, 2)}
    assert batch.spent["one"] == batch.spent["two"]
    rows = {name: (await books.database.read(lambda c, name=name: show(c, name))).key_id for name in "abc"}
    assert rows == {"a": "one", "b": "two", "c": "one"}
    await books.assert_balanced()


async def test_what_was_before_ends_and_its_spend_stays(books):
    await record(books, declared("one"))
    await books.settle(settlement("a", key_id="one"))
    await record(books, declared("two", previous=previous("one")), now=NOW + 1)
    assert (await known(books, "one")).expires_at_ms == NOW + DAY
    assert (await known(books, "two")).expires_at_ms == 0
    # The catalog is without it as soon as its time is over; auth may have seen none of what was between.
    await record(books, declared("four", previous=previous("three")), now=NOW + 2)
    assert [(await known(books, each)).counter for each in ("one", "two", "three", "four")] == [
        "one", "one/two", "one/three", "one/four",
    ]  # fmt: skip
    assert (await known(books, "one")).state_at(NOW) is KeyState.WITHDRAWN
    assert await spent(books, "four") == {"four": (4500, 1)}


async def test_others_share_nothing(books):
    await record(books, declared("one"), declared("other", name="cd"), declared("there", project="elsewhere"))
    await books.add_key("own", name="ci")
    recorded = await record(books, declared("two"), declared("other", name="cd"), now=NOW + 1)
    assert recorded.counted_as == {"two": "one"}
    await books.settle(settlement("a", key_id="two"), settlement("b", key_id="own"))
    assert await spent(books, "two", "own", "other", "there") == {
        "two": (4500, 1), "own": (4500, 1), "other": (0, 0), "there": (0, 0),
    }  # fmt: skip
    await books.assert_balanced()


async def test_a_key_that_moves_to_another_project_stays_what_it_is(books):
    await record(books, declared("one"))
    await record(books, declared("one", project="elsewhere"), now=NOW + 1)
    assert (await known(books, "one")).project == "elsewhere"
    recorded = await record(books, declared("two", project="elsewhere", previous=previous("one")), now=NOW + 2)
    assert recorded.counted_as == {"two": "one"}


async def test_what_a_previous_text_takes_from_another_key_is_refused_alone(books):
    own = await books.add_key("mine")
    stolen = PreviousKey(id="thief", prefix="psk_thief", digest=own.digest.hex(), expires_at_ms=NOW + DAY)
    document = AuthCatalog(api_keys=(declared("one", previous=stolen),)).sealed()
    recorded = await record(books, *document.api_keys)
    assert recorded.refused == ("thief",)
    assert [key.id for key in view(document, recorded).declared.values()] == ["one"]


@contextmanager
def statements_of(books):
    seen = []

    def note(connection, cursor, statement, *_):
        seen.append(statement.split()[0])

    engine = books.database.engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def test_only_what_differs_is_written(books):
    """Of thousands of keys one is revoked, and that is to be in force at once."""
    many = [declared(f"k{n:03}", name=f"n{n}") for n in range(200)]
    await record(books, *many)
    with statements_of(books) as seen:
        await record(books, *many)
    assert seen.count("SELECT") == 1
    assert not {"INSERT", "UPDATE"} & set(seen)
    many[7] = many[7].model_copy(update={"mode": "Revoked"})
    with statements_of(books) as seen:
        await record(books, *many[:-1])
    assert seen.count("UPDATE") == 2
    assert (await known(books, "k007")).state == "Disabled"
    assert (await known(books, "k199")).state == "Withdrawn"
    with statements_of(books) as seen:
        await record(books, *many[:-1])
    assert "UPDATE" not in seen


async def test_thousands_of_new_keys_are_a_few_statements(books):
    """They are one transaction, which has a few seconds for all of them."""
    many = [declared(f"k{n:04}", name=f"n{n}", project=f"p{n % 3}") for n in range(1500)]
    with statements_of(books) as seen:
        recorded = await record(books, *many, declared("other", digest=digest("k0007")))
    assert recorded.refused == ("other",)
    assert len(seen) < 20
    assert (await known(books, "k1499")).project == "p2"


async def test_after_a_loss_rows_of_both_texts_fill_one_window(books):
    plan = Plan(name="team", limits=(PlanLimit(name="m", unit="Requests", amount=5, window_ms=60_000),))
    await record(books, declared("one"))
    await record(books, declared("two", previous=previous("one")), now=NOW + 1)
    book = KeyBook(books.database, monotonic=lambda: 0.0)
    book.catalog = view(AuthCatalog(plans=(plan,)).sealed())
    await books.settle(settlement("a", key_id="one"), settlement("b", key_id="two"))
    truth = SqlTruth(books.database, SessionBook(books.database, lambda: NOW), book, lambda: NOW)
    history = await truth.history("demo")
    assert sorted(row.key for row in history.rows) == ["one", "one/two"]
    assert {"one", "one/two"} <= history.limits.keys()
