"""Documents split into Secrets and joined again."""

import gzip
import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_catalog import shards
from penstock_catalog.builtin import built_in_models
from penstock_catalog.documents import Account, AuthCatalog, DeclaredKey, Model, Plan, RouterCatalog
from penstock_catalog.prices import PriceRow
from penstock_catalog.shards import Parts, ShardError, UnfitShardsError, join, read_head, split
from tests.effort import examples

PRICE = PriceRow(effective_at_ms=0, input=1, output=2, cache_write_5m=1, cache_write_1h=1, cache_read=1)
NAMES = st.text("abc-.é\u2028", min_size=1, max_size=4)


def account(name: str, **more) -> Account:
    return Account(
        **{
            "name": name,
            "provider": "Anthropic",
            "base_url": "https://example.com",
            "api_key": f"secret-of-{name}",
            "credential_hash": "0" * 16,
            "models": (),
            **more,
        }
    )


def model(name: str, created: int = 0, **more) -> Model:
    return Model(name=name, created_at_ms=created, context_tokens=1, max_output_tokens=1, prices=(PRICE,), **more)


def key(name: str, digest: str = "0" * 64, **more) -> DeclaredKey:
    return DeclaredKey(name=name, id=name, prefix=f"psk_{name}", digest=digest, project="p", plan="standard", **more)


def router(accounts=(), models=()) -> RouterCatalog:
    return RouterCatalog(
        accounts=tuple(sorted(accounts, key=lambda one: one.name)),
        models=tuple(sorted(models, key=lambda one: (-one.created_at_ms, one.name))),
    ).sealed()


def auth(plans=(), keys=(), models=()) -> AuthCatalog:
    return AuthCatalog(
        plans=tuple(sorted(plans, key=lambda one: one.name)),
        api_keys=tuple(sorted(keys, key=lambda one: one.name)),
        models=tuple(sorted(models, key=lambda one: (-one.created_at_ms, one.name))),
    ).sealed()


def unique(items):
    return st.lists(items, unique_by=lambda one: one.name, max_size=12)


ACCOUNTS = unique(st.builds(account, NAMES, weight=st.integers(0, 3), not_served_message=st.text(max_size=3)))
MODELS = unique(st.builds(model, NAMES, st.integers(-1, 2), display_name=st.text("aé\n", max_size=3)))
ROUTERS = st.builds(router, ACCOUNTS, MODELS)
AUTHS = st.builds(auth, unique(st.builds(lambda name: Plan(name=name), NAMES)), unique(st.builds(key, NAMES)), MODELS)
COUNTS = st.sampled_from([1, 2, 3, 16])


def joined(parts: Parts, kind):
    return join(read_head(parts.head, kind), parts.shards, kind)


@given(st.one_of(ROUTERS, AUTHS), COUNTS)
def test_what_is_split_joins_to_the_same(document, count):
    parts = split(document, count)
    assert len(parts.shards) == count
    assert joined(parts, type(document)) == document


@given(AUTHS)
def test_equal_documents_have_equal_bytes(document):
    assert split(document) == split(type(document).model_validate(document.model_dump()))


@given(ROUTERS, st.data())
def test_one_change_touches_one_shard_and_the_head(document, data):
    name = data.draw(NAMES)
    others = [one for one in document.accounts if one.name != name]
    kept = next((one for one in document.accounts if one.name == name), None)
    changed = data.draw(
        st.sampled_from([router([*others, account(name, weight=77)], document.models), router(others, document.models)])
    )
    before, after = split(document), split(changed)
    touched = sum(one != other for one, other in zip(before.shards, after.shards, strict=True))
    if changed == document:
        assert kept is None
        assert before == after
    else:
        assert touched == 1
        assert before.head != after.head


@settings(max_examples=examples(40))
@given(ROUTERS, ROUTERS, st.lists(st.booleans(), min_size=4, max_size=4))
def test_no_mixture_of_two_versions_joins(one, other, picks):
    first, second = split(one, 3), split(other, 3)
    taken = [(second if pick else first).shards[index] for index, pick in enumerate(picks[1:])]
    head, document = (second, other) if picks[0] else (first, one)
    if tuple(taken) == head.shards:
        assert join(read_head(head.head, RouterCatalog), taken, RouterCatalog) == document
    else:
        with pytest.raises(UnfitShardsError):
            join(read_head(head.head, RouterCatalog), taken, RouterCatalog)


DOCUMENT = router([account(f"a{number}") for number in range(40)], [model("m")])
PARTS = split(DOCUMENT)
OTHERS = split(router([account("b")]))


@pytest.mark.parametrize(
    ("index", "shard", "reason"),
    [
        (3, None, "c-03 is missing"),
        (3, b"", "c-03 is another one (0 bytes)"),
        (3, PARTS.shards[3][:-1], "c-03 is another one"),
        (0, PARTS.shards[0] + b"\0", "c-00 is another one"),
        (0, bytes([PARTS.shards[0][0] ^ 1]) + PARTS.shards[0][1:], "c-00 is another one"),
        (15, OTHERS.shards[15], "c-15 is another one"),
        (1, PARTS.shards[2], "c-01 is another one"),
    ],
)
def test_a_shard_that_is_not_the_right_one_is_refused_by_name(index, shard, reason):
    taken: list[bytes | None] = list(PARTS.shards)
    taken[index] = shard
    with pytest.raises(UnfitShardsError) as refused:
        join(read_head(PARTS.head, RouterCatalog), taken, RouterCatalog, "c")
    assert reason in str(refused.value)
    assert DOCUMENT.version in str(refused.value)
    assert "secret" not in str(refused.value)


def test_too_few_shards():
    with pytest.raises(UnfitShardsError, match="15 shards of 16"):
        join(read_head(PARTS.head, RouterCatalog), PARTS.shards[1:], RouterCatalog)


def head_with(**changes) -> bytes:
    return json.dumps({**json.loads(PARTS.head), **changes}).encode()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON"),
        (PARTS.head[:-1], "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "format is not 1"),
        (head_with(format=2), "another release"),
        (head_with(kind="AuthCatalog"), "of another document than RouterCatalog"),
        (head_with(shards=[]), "shards is not as this release expects"),
        (head_with(shards=["secret"]), "shards.0 is not as this release expects"),
        (head_with(shards=["0" * 64] * 100), "shards is not as this release expects"),
        (head_with(more=1), "more is not as this release expects"),
    ],
)
def test_a_head_that_cannot_be_read_is_refused_with_a_reason(payload, reason):
    with pytest.raises(ShardError, match=reason) as refused:
        read_head(payload, RouterCatalog, "c-head")
    assert "c-head" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("changes", [{"version": "0" * 16}, {"fields": {"schema_version": 1, "x": 1}}])
def test_a_head_that_claims_another_version_or_fact_is_refused(changes):
    with pytest.raises(shards.DocumentError, match="does not match its version"):
        join(read_head(head_with(**changes), RouterCatalog), PARTS.shards, RouterCatalog)


def test_a_document_of_another_release_is_refused():
    changed = head_with(fields={"schema_version": 2})
    with pytest.raises(shards.DocumentError, match="of another release"):
        join(read_head(changed, RouterCatalog), PARTS.shards, RouterCatalog)


def packed(data: bytes) -> bytes:
    """Compress as the same bytes each time: what tests are named by must not change from process to process."""
    return gzip.compress(data, mtime=0)


def shard_text(**changes) -> bytes:
    return json.dumps({**json.loads(gzip.decompress(PARTS.shards[0])), **changes}).encode()


@pytest.mark.parametrize(
    ("shard", "reason"),
    [
        (b"plain", "not compressed"),
        (PARTS.shards[0][:-4], "cut off"),
        (PARTS.shards[0] + b"\0", "cut off"),
        (packed(b"{"), "not JSON"),
        (packed(b"\xff"), "not JSON"),
        (packed(b"[]"), "not shard 0 of 16 of RouterCatalog"),
        (PARTS.shards[1], "not shard 0 of 16 of RouterCatalog"),
        (packed(shard_text(of=8)), "not shard 0 of 16 of RouterCatalog"),
        (packed(shard_text(kind="AuthCatalog")), "not shard 0 of 16 of RouterCatalog"),
        (packed(shard_text(entries=[])), "entries are not"),
        (packed(shard_text(entries={"accounts": {}})), "entries are not"),
        (packed(shard_text(entries={"accounts": ["a"]})), "entries are not"),
        (packed(shard_text(entries={"accounts": [{"name": 1}]})), "entries are not"),
        (packed(shard_text(entries={"models": [{"name": "m"}]})), "entries are not"),
        (packed(shard_text(entries={"accounts": [{"name": "a"}]})), "does not match its version"),
        (packed(b" " * 32_000_001), "larger than 32,000,000 bytes"),
    ],
)
def test_a_head_that_names_a_wrong_shard_changes_nothing(shard, reason):
    """Digests guard against accidents; what others published on purpose is still read with care."""
    digests = [shards.digest(shard), *json.loads(PARTS.head)["shards"][1:]]
    head = read_head(head_with(shards=digests), RouterCatalog)
    with pytest.raises(shards.DocumentError, match=reason):
        join(head, [shard, *PARTS.shards[1:]], RouterCatalog)


def test_only_what_the_compiler_made_is_split():
    with pytest.raises(ShardError, match="seal it first"):
        split(RouterCatalog(accounts=(account("a"),)))
    with pytest.raises(ShardError, match="its accounts are not in the order"):
        split(RouterCatalog(accounts=(account("b"), account("a"))).sealed())
    with pytest.raises(ShardError, match="its models are not in the order"):
        split(RouterCatalog(models=(model("a", 1), model("b", 2))).sealed())


def test_a_shard_that_no_secret_can_hold_is_refused_with_its_sizes():
    noise = random.Random(1).randbytes(1_100_000).hex()
    with pytest.raises(ShardError) as refused:
        split(router([account("small"), account("large", api_key=noise)]))
    text = str(refused.value)
    assert "a Secret takes 1,000,000" in text
    assert "accounts/large is the largest with 2,200," in text
    assert noise[:8] not in text


def test_a_shard_that_only_looks_small_is_refused_too():
    with pytest.raises(ShardError, match="accounts/a is the largest with 33,"):
        split(router([account("a", api_key="x" * 33_000_000)]))


def test_the_head_is_written_last_and_every_secret_has_a_name():
    payloads = PARTS.payloads("penstock-router")
    assert next(iter(payloads)) == "penstock-router-00"
    assert list(payloads)[-2:] == ["penstock-router-15", "penstock-router-head"]
    assert set(payloads) == set(shards.secret_names("penstock-router"))
    assert gzip.decompress(payloads["penstock-router-00"]).startswith(b'{"entries"')


def test_a_large_gateway_fits_with_much_room():
    """500 accounts and 2,000 keys: the numbers of docs/decisions/0010."""
    chance = random.Random(2)
    models = [one.name for one in built_in_models()]
    accounts = [
        account(f"team-{number:03d}-anthropic", api_key="sk-ant-" + chance.randbytes(48).hex(), models=models)
        for number in range(500)
    ]
    keys = [
        key(f"service-{number:04d}", chance.randbytes(32).hex(), expires_at_ms=1_800_000_000_000)
        for number in range(2000)
    ]
    known = [model(name, number) for number, name in enumerate(models)]
    for document in (router(accounts, known), auth([Plan(name="standard")], keys, known)):
        begun = time.process_time()
        parts = split(document)
        assert joined(parts, type(document)) == document
        spent = time.process_time() - begun
        sizes = [len(payload) for payload in parts.payloads("c").values()]
        print(document.kind, len(document.model_dump_json()), sum(sizes), max(sizes), round(spent, 3))
        assert max(sizes) < 40_000 < shards.MAX_BYTES
        assert spent < 5
