"""A document followed through Secrets of an API server on a real socket, in good times and in bad."""

import asyncio
import contextlib
import json
import ssl
import time
from contextlib import asynccontextmanager

import pytest

from penstock_catalog import secret_source, shards
from penstock_catalog.cluster_access import ClusterAccess, from_kubeconfig
from penstock_catalog.cluster_secrets import ClusterError, ClusterSecrets
from penstock_catalog.documents import AuthCatalog, Plan, RouterCatalog
from penstock_catalog.secret_source import SecretSource
from penstock_catalog.shards import secret_names, split
from tests.apiserver import NAMESPACE, TOKEN, Answer, ApiServer

PREFIX = "penstock-auth"
HEAD = f"{PREFIX}-head"


def catalog(*names: str, **more) -> AuthCatalog:
    return AuthCatalog(plans=tuple(Plan(name=name, **more) for name in sorted(names))).sealed()


MANY = [f"plan-{number:02d}" for number in range(40)]
FIRST, SECOND = catalog(*MANY), catalog(*MANY, "one-more")


def publish(server: ApiServer, document, *, head_first=False, only=None) -> list[str]:
    """Write what differs, as the operator does; return the names."""
    payloads = split(document).payloads(PREFIX)
    names = sorted(payloads, reverse=head_first, key=lambda name: name == HEAD)
    held = {name: data.get("payload") for name, (_, data) in server.secrets.items()}
    changed = [name for name in names if held.get(name) != payloads[name] and only in (None, name)]
    for name in changed:
        server.put(name, payloads[name])
    return changed


def touched(before, after) -> str:
    """Return the one shard in which two documents differ."""
    pairs = enumerate(zip(split(before).shards, split(after).shards, strict=True))
    (index,) = [index for index, (one, other) in pairs if one != other]
    return shards.shard_name(PREFIX, index)


class Followed:
    """What a source gave and told."""

    def __init__(self, source):
        self.source = source
        self.given = []
        self.told = []

    async def run(self):
        async for document in self.source.changes():
            self.given.append(document)

    async def until(self, holds, seconds=2.0):
        begun = time.monotonic()
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.005)
        return time.monotonic() - begun

    async def until_given(self, *documents, seconds=2.0):
        return await self.until(lambda: self.given == list(documents), seconds)

    async def until_told(self, text, seconds=2.0):
        return await self.until(lambda: any(text in told for told in self.told), seconds)


@asynccontextmanager
async def following(server, kind=AuthCatalog, token=lambda: TOKEN, deadline_seconds=0.5, watch_seconds=60.0):
    secrets = ClusterSecrets(
        ClusterAccess(server.url, NAMESPACE, token, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
        deadline_seconds=deadline_seconds,
        watch_seconds=watch_seconds,
    )
    followed = Followed(None)
    followed.source = SecretSource(secrets, PREFIX, kind, on_problem=followed.told.append)
    task = asyncio.create_task(followed.run())
    try:
        yield followed
        assert not task.done(), task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def server():
    async with ApiServer() as running:
        running.allowed = set(secret_names(PREFIX))
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(secret_source, "_DOWN_BASE", 0.05)
    monkeypatch.setattr(secret_source, "_DOWN_MOST", 0.3)


async def watching(server, followed):
    await followed.until(lambda: server.watches == 1)


async def test_first_load_and_a_change_of_one_object(server):
    publish(server, FIRST)
    async with following(server) as followed:
        await followed.until_given(FIRST)
        await watching(server, followed)
        assert server.count("get") == 16
        server.asked.clear()

        shard = touched(FIRST, SECOND)
        assert publish(server, SECOND) == [shard, HEAD]
        assert await followed.until_given(FIRST, SECOND) < 1
        assert [name for verb, name in server.asked if verb == "get"] == [shard]
        await watching(server, followed)
        assert not followed.told
    assert not [asked for asked in server.asked if asked[0] != "get" and asked[1] != HEAD]


async def test_it_waits_for_the_first_document_and_says_for_what(server):
    async with following(server) as followed:
        await followed.until_told(f"no Secret {HEAD} with payload in namespace {NAMESPACE}; the operator writes it")
        await watching(server, followed)
        publish(server, FIRST)
        await followed.until_given(FIRST)


@pytest.mark.parametrize("head_first", [True, False])
async def test_a_torn_update_changes_nothing_until_it_is_whole(server, head_first):
    publish(server, FIRST)
    async with following(server) as followed:
        await followed.until_given(FIRST)
        await watching(server, followed)
        names = [touched(FIRST, SECOND), HEAD]
        first, last = reversed(names) if head_first else names
        publish(server, SECOND, only=first)
        if head_first:
            await followed.until_told(f"version {SECOND.version} is not complete: {touched(FIRST, SECOND)} is another")
        else:
            await asyncio.sleep(0.2)
            assert not followed.told
        assert followed.given == [FIRST]
        publish(server, SECOND, only=last)
        await followed.until_given(FIRST, SECOND)


async def test_a_short_tear_is_not_worth_a_word(server):
    publish(server, FIRST)
    async with following(server) as followed:
        await followed.until_given(FIRST)
        await watching(server, followed)
        publish(server, SECOND, only=HEAD)
        await followed.until(lambda: server.count("get") > 16)
        publish(server, SECOND)
        await followed.until_given(FIRST, SECOND)
        assert not followed.told


async def test_a_start_between_shards_and_head(server):
    publish(server, FIRST)
    publish(server, SECOND, only=touched(FIRST, SECOND))
    async with following(server) as followed:
        await followed.until_told(f"version {FIRST.version} is not complete")
        assert followed.given == []
        publish(server, SECOND)
        await followed.until_given(SECOND)


async def test_what_is_missing_or_damaged_is_named_and_the_last_good_one_stays(server):
    publish(server, FIRST)
    good = dict(server.secrets)
    async with following(server) as followed:
        await followed.until_given(FIRST)
        await watching(server, followed)
        shard = touched(FIRST, SECOND)

        server.put(HEAD, b"{")
        await followed.until_told(f"{HEAD}: not JSON")
        server.put(HEAD, split(RouterCatalog().sealed()).head)
        await followed.until_told("of another document than AuthCatalog")
        server.delete(HEAD)
        await followed.until_told(f"no Secret {HEAD}")
        publish(server, FIRST)
        server.put(shard, b"secret content")
        publish(server, SECOND, only=HEAD)
        await followed.until_told(f"{shard} is another one (14 bytes)")
        server.delete(shard)
        await followed.until_told(f"{shard} is missing")
        server.put(shard, good[shard][1]["payload"], key="other")
        await asyncio.sleep(0.1)
        assert followed.given == [FIRST]
        publish(server, SECOND)
        await followed.until_given(FIRST, SECOND)
        assert not any("secret" in told for told in followed.told)


async def test_an_api_server_that_restarts(server):
    publish(server, FIRST)
    async with following(server) as followed:
        await followed.until_given(FIRST)
        await watching(server, followed)
        await server.stop()
        await followed.until_told("cannot be reached")
        publish(server, SECOND)
        await server.start()
        await followed.until_given(FIRST, SECOND)


async def test_a_second_outage_is_told_like_the_first(server, monkeypatch):
    monkeypatch.setattr(secret_source, "_DOWN_MOST", 30.0)
    publish(server, FIRST)
    async with following(server) as followed:
        await followed.until_given(FIRST)
        for document in (SECOND, FIRST, SECOND):
            await watching(server, followed)
            followed.told.clear()
            await server.stop()
            await followed.until_told("cannot be reached")
            await asyncio.sleep(0.5)  # Rests grow.
            await server.start()
            await watching(server, followed)
            publish(server, document)
            await followed.until_given(*followed.given, document)


async def test_a_watch_that_has_expired_is_begun_anew(server):
    publish(server, FIRST)
    async with following(server) as followed:
        await followed.until_given(FIRST)
        await watching(server, followed)
        lists = server.count("list")
        server.expire()
        await followed.until(lambda: server.count("list") > lists and server.watches == 1)
        publish(server, SECOND)
        await followed.until_given(FIRST, SECOND)

        lists = server.count("list")
        server.answers["watch"] = Answer(410)
        server.expire()
        await followed.until(lambda: server.count("list") > lists + 2)
        assert server.count("list") < lists + 10
        del server.answers["watch"]
        await watching(server, followed)
        assert not followed.told


async def test_signs_of_life_wake_nobody(server):
    publish(server, FIRST)
    async with following(server) as followed:
        await followed.until_given(FIRST)
        await watching(server, followed)
        lists = server.count("list")
        for _ in range(3):
            server.bookmark()
        await asyncio.sleep(0.1)
        assert server.count("list") == lists
        assert server.watches == 1


async def test_every_watch_ends_and_the_head_is_looked_at_anew(server):
    publish(server, FIRST)
    async with following(server, watch_seconds=1.0) as followed:
        await followed.until_given(FIRST)
        await followed.until(lambda: server.count("list") == 3, 4)
        assert server.count("get") == 16
        assert not followed.told


async def test_a_token_is_read_anew_for_every_call(server, tmp_path):
    """The kubelet writes a new token long before the old one ends; one that ended at once is only waited out."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    publish(server, FIRST)
    async with following(server, token=lambda: token.read_text().strip(), watch_seconds=1.0) as followed:
        await followed.until_given(FIRST)
        await watching(server, followed)
        server.tokens = {"token-of-the-second-hour"}
        publish(server, SECOND)
        await followed.until_told("does not know this token (401)")
        assert followed.given == [FIRST]
        token.write_text("token-of-the-second-hour\n")
        await followed.until_given(FIRST, SECOND)
        assert not any("hour" in told for told in followed.told)


async def test_an_api_server_that_connects_and_never_answers(server):
    publish(server, FIRST)
    server.frozen.set()
    async with following(server) as followed:
        await followed.until_told("did not answer in time (list Secret penstock-auth-head)")
        server.frozen.clear()
        await followed.until_given(FIRST)
        await watching(server, followed)


async def test_an_api_server_that_freezes_while_it_is_watched(server):
    publish(server, FIRST)
    async with following(server, watch_seconds=1.0) as followed:
        await followed.until_given(FIRST)
        await watching(server, followed)
        server.frozen.set()
        publish(server, SECOND)
        await followed.until_told("did not answer in time (watch", 4)
        assert followed.given == [FIRST]
        server.frozen.clear()
        await followed.until_given(FIRST, SECOND, seconds=4)


@pytest.mark.parametrize("verb", ["list", "get"])
async def test_what_is_forbidden_is_said_with_what_to_do(server, verb):
    publish(server, FIRST)
    server.forbidden = {verb}
    async with following(server) as followed:
        await followed.until_told(f"{verb} Secret penstock-auth-")
        assert "forbidden: the service account's role must allow get, list and watch on it by name" in followed.told[0]
        await asyncio.sleep(0.7)
        assert len(followed.told) == 1
        assert len(server.asked) < 40
        server.forbidden = set()
        await followed.until_given(FIRST)


async def test_without_the_right_to_watch_changes_come_by_looking(server):
    publish(server, FIRST)
    server.forbidden = {"watch"}
    async with following(server) as followed:
        await followed.until_given(FIRST)
        await followed.until_told(f"watch Secret {HEAD} in namespace {NAMESPACE} is forbidden")
        publish(server, SECOND)
        await followed.until_given(FIRST, SECOND)
        assert len(followed.told) == 1


@pytest.mark.parametrize(
    ("verb", "answer", "told"),
    [
        ("list", Answer(500, b'{"message": "etcd is away"}'), "with 500: etcd is away"),
        ("list", Answer(503, b"<html>"), "answered list Secret penstock-auth-head with 503"),
        ("list", Answer(302, b"", {"location": "http://example.com/"}), "with 302"),
        ("list", Answer(404, b"[]"), "with 404"),
        ("list", Answer(200, b"<html>"), "not JSON"),
        ("list", Answer(200, b"[]"), "not JSON"),
        ("list", Answer(200, b'{"items": []}'), "answered a list with something else"),
        ("list", Answer(200, b'{"items": 3, "metadata": {"resourceVersion": "1"}}'), "a list with something else"),
        ("list", Answer(200, b'{"items": [], "metadata": {}}'), "answered a list with something else"),
        ("get", Answer(200, b'{"data": 3}'), "is missing"),
        ("get", Answer(200, b'{"data": {"payload": "?"}}'), "is missing"),
        ("get", Answer(200, b'{"data": {"payload": 3}}'), "is missing"),
        ("watch", Answer(429, b'{"message": 3}'), "answered watch Secret penstock-auth-head with 429"),
    ],
)
async def test_strange_answers_are_waited_out(server, verb, answer, told):
    publish(server, FIRST)
    server.answers[verb] = answer
    async with following(server) as followed:
        await followed.until_told(told)
        assert not any("example.com" in text for text in followed.told)
        server.answers.clear()
        await followed.until_given(FIRST)
        await watching(server, followed)


async def test_a_list_with_other_secrets_is_not_trusted(server):
    publish(server, FIRST)
    items = [3, {}, {"metadata": {"name": "another"}, "data": {"payload": "e30="}}]
    server.answers["list"] = Answer(200, json.dumps({"items": items, "metadata": {"resourceVersion": "1"}}).encode())
    async with following(server) as followed:
        await followed.until_told(f"no Secret {HEAD}")


def watch_that_always_says(server, event):
    async def watch(_name, _query, writer):
        server.asked.append(("strange", ""))
        body = event.encode() + b"\n"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    return watch


async def test_a_watch_that_always_wakes_is_no_storm(server):
    publish(server, FIRST)
    server._watch = watch_that_always_says(server, '{"type": "MODIFIED", "object": {}}')
    async with following(server) as followed:
        await followed.until_given(FIRST)
        await asyncio.sleep(1.0)
        assert 5 < server.count("list") < 25
        assert not followed.told


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ("{", "something that is no event"),
        ("[]", "something that is no event"),
        ('{"type": "ERROR", "object": 3}', "something that is no event"),
        ('{"type": "ERROR", "object": {"code": 500}}', "has failed with 500"),
        ("", "ends watches as soon as they begin"),
    ],
)
async def test_strange_events_are_waited_out(server, event, told):
    publish(server, FIRST)
    usual, server._watch = server._watch, watch_that_always_says(server, event)
    async with following(server) as followed:
        await followed.until_told(told)
        await asyncio.sleep(0.5)
        assert server.count("strange") < 15
        server._watch = usual
        await watching(server, followed)


async def test_the_api_is_left_alone_for_as_long_as_it_asks(server):
    server.answers["list"] = Answer(429, b"", {"retry-after": "1"})
    async with following(server) as followed:
        await followed.until_told("with 429")
        await asyncio.sleep(0.8)
        assert server.count("list") == 1


async def test_a_token_that_no_header_can_carry_is_not_quoted(server):
    async with following(server, token=lambda: "sesame\nopen") as followed:
        await followed.until_told("the service account's token is no token")
        assert not server.asked
        assert "sesame" not in followed.told[0]


async def test_after_the_last_document_nothing_stays_open(server):
    publish(server, FIRST)
    async with following(server) as followed:
        await watching(server, followed)
    async with asyncio.timeout(30):
        while server._open:
            await asyncio.sleep(0.01)


def test_a_reason_that_lasts_is_told_once_a_minute():
    told, times = [], iter([1.0, 2.0, 60.9, 61.1, 62.0, 63.0])
    source = SecretSource(None, PREFIX, AuthCatalog, on_problem=told.append, monotonic=lambda: next(times))
    for reason in "aaaaba":
        source._tell(reason)
    assert told == ["a", "a", "b", "a"]


def test_rests_grow_to_a_limit_and_differ():
    source = SecretSource(None, PREFIX, AuthCatalog)
    rests = [source._pause(0.1, 2.0) for _ in range(60)]
    for number, rest in enumerate(rests):
        most = min(2.0, 0.1 * 2**number)
        assert most / 2 <= rest <= most
    assert len({round(rest, 6) for rest in rests[10:]}) > 40
    assert source._pause(0.1, 2.0, 7.0) == 7.0


async def test_a_kubeconfig_leads_to_the_server(server, tmp_path):
    publish(server, FIRST)
    secrets = ClusterSecrets(from_kubeconfig(server.kubeconfig(tmp_path)))
    assert (await secrets.look(HEAD)).payload == split(FIRST).head
    assert await secrets.get(f"{PREFIX}-03") == split(FIRST).shards[3]
    server.allowed = {HEAD}
    with pytest.raises(ClusterError, match="get Secret penstock-auth-03 in namespace gateway is forbidden"):
        await secrets.get(f"{PREFIX}-03")
    await secrets.close()
