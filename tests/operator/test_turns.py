"""The operator before an API server, routers and auths that do what they can to confuse it."""

from __future__ import annotations

import asyncio
import base64

import pytest

from penstock.router.v1 import router_pb2
from penstock_catalog import shards
from penstock_operator.kinds import UPSTREAM_ACCOUNT
from tests.operator.stage import RELEASE, staged
from tests.operator.world import account, api_key, custom, plan, secret

# An operator that is stopped while it connects leaves the connection to the garbage collector, as httpx does then.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

READY = ("True", "Ready")
HEAD = f"{RELEASE}-router-catalog-head"


@pytest.fixture
async def stage():
    async with staged() as made:
        made.kube.apply(secret("a", **{"api-key": "one"}), account("a"), plan())
        yield made


async def test_everything_is_said_and_then_nothing_more(stage):
    stage.kube.apply(api_key("ci"), custom("Model", "own", contextTokens=1000, maxOutputTokens=100, prices=[PRICE]))
    await stage.operate()
    for kind, name in (("UpstreamAccount", "a"), ("Plan", "open"), ("APIKey", "ci")):
        await stage.until_said(kind, name, READY)
    await stage.until_said("Model", "own", ("False", "NoReadyAccount"))
    assert not await stage.quiet()
    status = stage.kube.status("UpstreamAccount", "a")
    assert [row["type"] for row in status["conditions"]] == [
        "Accepted", "ResolvedRefs", "Programmed", "Reachable", "Ready"
    ]  # fmt: skip
    assert status["observedGeneration"] == 1
    model = stage.kube.status("Model", "own")
    assert (model["readyAccounts"], model["totalAccounts"]) == (0, 0)


PRICE = {"effectiveTime": "2026-02-01T00:00:00Z", "inputPerMillionTokens": "3.00", "outputPerMillionTokens": "15.00"}


class TestARestart:
    async def test_writes_nothing(self, stage):
        stage.kube.apply(api_key("ci"))
        operator = await stage.operate()
        await stage.until_said("APIKey", "ci", READY)
        await stage.until_said("UpstreamAccount", "a", ("True", "Reachable"), "Reachable")
        await stage.quiet()
        await stage.stop(operator)
        before = len(stage.kube.asked)
        again = await stage.operate()
        await stage.until(lambda: again.ready()[0])
        assert not await stage.quiet()
        assert not stage.kube.writes(before)
        assert stage.router.probed == [("a", "one")], "what worked is not tried again at once"

    async def test_publishes_nothing_before_everything_is_seen(self, stage):
        operator = await stage.operate()
        await stage.until_said("UpstreamAccount", "a", READY)
        await stage.stop(operator)
        version = stage.router_catalog().version
        for plural in ("secrets", "apikeys"):
            before = len(stage.kube.asked)
            stage.kube.refused["GET", plural] = 500
            again = await stage.operate()
            await asyncio.sleep(1.5)
            assert not again.ready()[0]
            assert not stage.kube.writes(before)
            assert stage.router_catalog().version == version
            stage.kube.refused.clear()
            await stage.stop(again)

    async def test_completes_what_was_half_written(self, stage):
        operator = await stage.operate()
        await stage.until_said("UpstreamAccount", "a", READY)
        await stage.stop(operator)
        tear(stage)
        stage.kube.apply(secret("a", **{"api-key": "two"}))
        stage.router.probes["two"] = 401
        await stage.operate()
        await stage.until_said("UpstreamAccount", "a", ("False", "AuthRejected"), "Reachable")
        await stage.until(lambda: fits(stage))
        assert stage.account("a").api_key == "one", "the credential in force is known from the shards that are there"

    async def test_makes_up_for_everything_that_happened_meanwhile(self, stage):
        stage.kube.apply(api_key("ci"), secret("b", **{"api-key": "b"}), account("b"))
        operator = await stage.operate()
        await stage.until_said("APIKey", "ci", READY)
        await stage.until_said("UpstreamAccount", "b", READY)
        await stage.stop(operator)
        stage.kube.vanish("UpstreamAccount", "b")
        stage.kube.apply(api_key("ci", mode="Revoked"), plan("more"))
        await stage.operate()
        await stage.until_said("APIKey", "ci", ("False", "Revoked"))
        await stage.until_said("Plan", "more", READY)
        assert stage.account("b") is None


def tear(stage):
    """Leave a publication as an operator does that dies in the midst of it: the head is of another version."""
    head = stage.kube.get("Secret", HEAD)
    text = base64.b64decode(head["data"]["payload"]).replace(b'"shards":["', b'"shards":["0000', 1)
    text = text[: text.index(b'"0000')] + b'"' + b"0" * 64 + text[text.index(b'"0000') + 69 :]
    stage.kube.apply({**head, "data": {"payload": base64.b64encode(text).decode()}})
    assert not fits(stage)


def fits(stage):
    secrets = [stage.kube.get("Secret", name) for name in shards.secret_names(f"{RELEASE}-router-catalog")]
    head, *rest = [base64.b64decode(item["data"]["payload"]) for item in secrets]
    from penstock_catalog.documents import RouterCatalog

    parts = shards.read_head(head, RouterCatalog).shards
    return all(shards.digest(part) == expected for part, expected in zip(rest, parts, strict=True))


class TestTheApiServer:
    async def test_frozen_it_is_waited_for_and_told(self, stage):
        operator = await stage.operate(api_deadline_seconds=0.3)
        await stage.until_said("UpstreamAccount", "a", READY)
        stage.kube.frozen = True
        stage.kube.apply(plan("more"))
        await stage.until(lambda: not operator.ready()[0])
        assert "did not answer in time" in operator.ready()[1]
        stage.kube.frozen = False
        await stage.until_said("Plan", "more", READY)
        await stage.until(lambda: operator.ready()[0])

    async def test_busy_it_is_asked_again(self, stage):
        stage.kube.failing = [429, 500, 503, 429]
        await stage.operate()
        await stage.until_said("UpstreamAccount", "a", READY)

    async def test_gone_and_back_with_a_shorter_memory(self, stage):
        """What went while nobody watched is missed by every watch, and found by a list."""
        stage.kube.apply(secret("b", **{"api-key": "b"}), account("b"))
        await stage.operate()
        await stage.until_said("UpstreamAccount", "b", READY)
        await stage.kube.stop()
        stage.kube.vanish("UpstreamAccount", "b")
        await stage.kube.start()
        await stage.until(lambda: stage.account("b") is None)

    async def test_whose_watches_expire_is_listed_anew(self, stage):
        stage.kube.apply(secret("b", **{"api-key": "b"}), account("b"))
        await stage.operate()
        await stage.until_said("UpstreamAccount", "b", READY)
        await stage.quiet()
        stage.kube.vanish("UpstreamAccount", "b")
        stage.kube.expire()
        await stage.until(lambda: stage.account("b") is None)

    async def test_that_no_longer_knows_the_token_is_asked_with_the_new_one(self, stage):
        (stage.folder / "token").write_text("first")
        stage.kube.tokens = {"first"}
        operator = await stage.operate_with_token_file()
        await stage.until_said("UpstreamAccount", "a", READY)
        stage.kube.tokens = {"second"}
        (stage.folder / "token").write_text("second")
        stage.kube.expire()
        stage.kube.apply(plan("more"))
        await stage.until_said("Plan", "more", READY)
        assert operator.ready()[0]

    async def test_that_refuses_a_write_is_told_and_stops_nothing_else(self, stage):
        operator = await stage.operate()
        await stage.until_said("UpstreamAccount", "a", READY)
        stage.kube.refused["PATCH", "secrets"] = 403
        stage.kube.apply(plan("more"))
        await stage.until_said("Plan", "more", ("Unknown", "Pending"))
        assert "403" in operator.ready()[1]
        stage.kube.refused.clear()
        await stage.until_said("Plan", "more", READY)
        await stage.until(lambda: operator.ready()[0])


class TestTheCatalogs:
    async def test_are_put_right_when_somebody_changes_them(self, stage):
        await stage.operate()
        await stage.until_said("UpstreamAccount", "a", READY)
        version = stage.router_catalog().version
        stage.kube.delete("Secret", f"{RELEASE}-router-catalog-03")
        stage.kube.apply({**stage.kube.get("Secret", HEAD), "data": {"payload": "e30="}})
        await stage.until(
            lambda: (
                all(stage.kube.get("Secret", name) for name in shards.secret_names(f"{RELEASE}-router-catalog"))
                and fits_or_not(stage)
            )
        )
        assert stage.router_catalog().version == version
        assert not await stage.quiet()

    async def test_take_one_shard_and_a_head_for_one_change(self, stage):
        await stage.operate()
        await stage.until_said("UpstreamAccount", "a", READY)
        await stage.quiet()
        before = len(stage.kube.asked)
        stage.kube.apply(account("a", weight=7))
        await stage.until(lambda: stage.account("a").weight == 7)
        await stage.quiet()
        writes = stage.kube.writes(before)
        assert writes["secrets"] == 2
        assert writes["upstreamaccounts/status"] <= 2

    async def test_leave_out_what_is_too_large(self, stage, monkeypatch):
        """Its neighbours are published all the same."""
        import random

        noise = random.Random(1)
        names = ["".join(noise.choices("abcdefghijklmnopqrstuvwxyz", k=200)) for _ in range(200)]
        monkeypatch.setattr(shards, "MAX_BYTES", 20_000)
        stage.kube.apply(plan("large", models=names))
        await stage.operate()
        await stage.until_said("Plan", "large", ("False", "TooLarge"))
        await stage.until_said("Plan", "open", READY)
        stage.kube.apply(plan("large"))
        await stage.until_said("Plan", "large", READY)

    async def test_have_what_changed_in_the_midst_of_a_turn(self, stage, monkeypatch):
        operator = await stage.operate()
        await stage.until_said("UpstreamAccount", "a", READY)
        await stage.quiet()
        issuer, seen = operator.turns._issuer, operator.seen
        issue, done = issuer.issue, []

        async def slowly(*arguments):
            issued = await issue(*arguments)
            if not done:
                done.append(True)
                stage.kube.apply(account("a", weight=9))
                await stage.until(lambda: seen.of(UPSTREAM_ACCOUNT)["a"]["spec"].get("weight") == 9)
            return issued

        monkeypatch.setattr(issuer, "issue", slowly)
        stage.kube.apply(account("a", weight=8))
        await stage.until(lambda: stage.account("a").weight == 9)


def fits_or_not(stage):
    try:
        return fits(stage)
    except shards.ShardError:
        return False


class TestCredentials:
    async def test_one_that_cannot_be_tried_waits_for_a_router(self, stage):
        await stage.operate()
        await stage.until_said("UpstreamAccount", "a", ("True", "Reachable"), "Reachable")
        await stage.silence("r0")
        stage.kube.apply(secret("a", **{"api-key": "two"}))
        await asyncio.sleep(1.0)
        assert stage.account("a").api_key == "one"
        await stage.serve("r0")
        await stage.until(lambda: stage.account("a").api_key == "two")

    async def test_one_is_taken_at_once_when_the_other_is_dead(self, stage):
        await stage.operate()
        await stage.until_said("UpstreamAccount", "a", READY)
        stage.router.reasons["a"] = "CredentialInvalid"
        await stage.until_said("UpstreamAccount", "a", ("False", "CredentialInvalid"))
        stage.router.probes["two"] = 500
        stage.kube.apply(secret("a", **{"api-key": "two"}))
        await stage.until(lambda: stage.account("a").api_key == "two")

    async def test_a_new_account_is_published_before_it_is_tried(self, stage):
        stage.router.probes["one"] = 500
        await stage.operate()
        await stage.until_said("UpstreamAccount", "a", ("False", "ProbeFailed"), "Reachable")
        await stage.until_said("UpstreamAccount", "a", READY)

    async def test_a_secret_that_comes_later_is_noticed(self, stage):
        stage.kube.apply(account("b"))
        await stage.operate()
        await stage.until_said("UpstreamAccount", "b", ("False", "SecretNotFound"))
        stage.kube.apply(secret("b", other="x"))
        await stage.until_said("UpstreamAccount", "b", ("False", "SecretKeyMissing"))
        stage.kube.apply({**stage.kube.get("Secret", "b"), "data": {"api-key": base64.b64encode(b"\xff\xfe").decode()}})
        await stage.until_said("UpstreamAccount", "b", ("False", "SecretKeyInvalid"))
        stage.kube.apply(secret("b", **{"api-key": "b"}))
        await stage.until_said("UpstreamAccount", "b", READY)
        stage.kube.delete("Secret", "b")
        await stage.until_said("UpstreamAccount", "b", ("False", "SecretNotFound"))


class TestRoutersAndAuths:
    async def test_all_of_them_have_to_have_loaded_it(self, stage):
        await stage.serve("r1")
        await stage.operate("r0", "r1")
        await stage.until_said("UpstreamAccount", "a", READY)
        stage.routers["r1"].version = stage.router_catalog().version
        stage.kube.apply(account("a", weight=7))
        await stage.until_said("UpstreamAccount", "a", ("False", "Pending"), "Programmed")
        assert stage.kube.condition("UpstreamAccount", "a") == READY
        stage.routers["r1"].version = None
        await stage.until_said("UpstreamAccount", "a", ("True", "Programmed"), "Programmed")

    async def test_so_do_the_edges(self, stage):
        await stage.operate()
        await stage.until_said("UpstreamAccount", "a", READY)
        stage.router.sessions = {"edge-1": stage.router_catalog().version, "edge-2": ""}
        stage.kube.apply(account("a", weight=7))
        await stage.until_said("UpstreamAccount", "a", ("False", "Pending"), "Programmed")
        stage.router.sessions = {}
        await stage.until_said("UpstreamAccount", "a", ("True", "Programmed"), "Programmed")

    async def test_one_that_says_no_is_believed(self, stage):
        await stage.serve("r1")
        await stage.operate("r0", "r1")
        await stage.until_said("UpstreamAccount", "a", READY)
        stage.routers["r1"].reasons["a"] = "QuotaExhausted"
        await stage.until_said("UpstreamAccount", "a", ("False", "QuotaExhausted"))

    async def test_gone_for_a_moment_is_no_news(self, stage):
        await stage.operate(outage_seconds=30.0)
        await stage.until_said("UpstreamAccount", "a", READY)
        await stage.quiet()
        before = len(stage.kube.asked)
        await stage.silence("r0")
        await asyncio.sleep(0.5)
        await stage.serve("r0")
        await asyncio.sleep(0.5)
        await stage.quiet()
        assert not stage.kube.writes(before)

    async def test_gone_for_long_leaves_it_unknown_and_publishing_goes_on(self, stage):
        await stage.operate(outage_seconds=0.5)
        await stage.until_said("UpstreamAccount", "a", READY)
        await stage.silence("r0")
        await stage.until_said("UpstreamAccount", "a", ("Unknown", "RouterSilent"))
        stage.kube.apply(account("a", weight=7))
        await stage.until(lambda: stage.account("a").weight == 7)
        await stage.silence("auth")
        await stage.until_said("Plan", "open", ("Unknown", "AuthSilent"))
        await stage.serve("r0", "auth")
        await stage.until_said("UpstreamAccount", "a", READY)
        await stage.until_said("Plan", "open", READY)


class TestCooldowns:
    async def test_are_written_when_they_change_and_not_when_clocks_differ(self, stage):
        await stage.operate()
        await stage.until_said("UpstreamAccount", "a", READY)
        await stage.quiet()
        stage.router.cooldowns["a"] = [cooldown(60_000, model="claude-haiku-4-5")]
        await stage.until(lambda: stage.kube.status("UpstreamAccount", "a").get("cooldowns"))
        row = stage.kube.status("UpstreamAccount", "a")["cooldowns"][0]
        assert (row["model"], row["reason"]) == ("claude-haiku-4-5", "Throttled")
        assert "operation" not in row
        await stage.quiet()
        before = len(stage.kube.asked)
        for jitter in (59_500, 60_400, 59_900):
            stage.router.cooldowns["a"] = [cooldown(jitter, model="claude-haiku-4-5")]
            await asyncio.sleep(0.3)
        assert not stage.kube.writes(before)
        stage.router.cooldowns["a"] = []
        await stage.until(lambda: "cooldowns" not in stage.kube.status("UpstreamAccount", "a"))

    async def test_that_flicker_are_written_now_and_then(self, stage):
        await stage.operate(status_seconds=1.0)
        await stage.until_said("UpstreamAccount", "a", READY)
        await stage.quiet()
        before = len(stage.kube.asked)
        for number in range(20):
            stage.router.reasons["a"] = "Cooling" if number % 2 else "Ready"
            stage.router.cooldowns["a"] = [cooldown(10_000 * (number + 1))]
            await asyncio.sleep(0.1)
        await stage.quiet()
        assert stage.kube.writes(before)["upstreamaccounts/status"] <= 5
        await stage.until_said("UpstreamAccount", "a", ("False", "Cooling"))


def cooldown(remaining_ms, **more):
    return router_pb2.Cooldown(account="a", remaining_ms=remaining_ms, **{"class": "Throttled"}, **more)


async def test_a_status_that_somebody_else_has_written_is_put_right(stage):
    await stage.operate()
    await stage.until_said("Plan", "open", READY)
    with stage.kube._lock:
        item = stage.kube.get("Plan", "open")
        known = stage.kube._objects["plans"]["open"]
        stage.kube._store("plans", {**item, "status": {"conditions": [], "observedGeneration": 9}}, known)
    await stage.until_said("Plan", "open", READY)
    assert stage.kube.status("Plan", "open")["observedGeneration"] == 1


async def test_an_object_on_its_way_out_is_gone_already(stage):
    """Somebody else's finalizer may keep it for long; it serves nobody meanwhile."""
    await stage.operate()
    await stage.until_said("UpstreamAccount", "a", READY)
    with stage.kube._lock:
        known = stage.kube._objects["upstreamaccounts"]["a"]
        leaving = {
            **known,
            "metadata": {**known["metadata"], "deletionTimestamp": "2026-03-01T00:00:00Z", "finalizers": ["x/y"]},
        }
        stage.kube._store("upstreamaccounts", leaving, known)
    await stage.until(lambda: stage.account("a") is None)


async def test_events_tell_the_story(stage):
    await stage.operate()
    await stage.until_said("UpstreamAccount", "a", READY)
    stage.kube.apply(account("a", mode="Draining"))
    await stage.until_said("UpstreamAccount", "a", ("False", "Draining"))
    stage.kube.apply(secret("a", **{"api-key": "two"}), account("a"))
    await stage.until(lambda: stage.account("a").api_key == "two")
    await stage.until(lambda: "CredentialRotated" in [reason for _, reason, _ in stage.kube.events("a")])
    told = [(kind, reason) for kind, reason, _ in stage.kube.events("a")]
    assert {("Normal", "Ready"), ("Normal", "Draining")} <= set(told)
    event = stage.kube.all("Event")[0]
    assert event["involvedObject"]["uid"] == stage.kube.get("UpstreamAccount", "a")["metadata"]["uid"]
    assert "two" not in str(stage.kube.all("Event"))
