"""Declared keys before an API server: what is published is what stands in Secrets, whatever happens in between."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from penstock_catalog import api_key as key_text
from penstock_operator import keys
from penstock_operator.kinds import API_KEY
from tests.operator.stage import staged
from tests.operator.world import api_key, plan, secret

# An operator that is stopped while it connects leaves the connection to the garbage collector, as httpx does then.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

READY = ("True", "Ready")


@pytest.fixture
async def stage():
    async with staged() as made:
        made.kube.apply(plan(), api_key("ci"))
        yield made


def digest(stage, name: str) -> str:
    """The digest of the key that stands in a Secret; "" when there is none."""
    held = stage.kube.get("Secret", name)
    return key_text.digest(base64.b64decode(held["data"]["api-key"]).decode()).hex() if held else ""


def published(stage, name: str = "ci"):
    document = stage.auth_catalog()
    return next((entry for entry in document.api_keys if entry.name == name), None) if document else None


async def issued(stage, name: str = "ci"):
    await stage.until_said("APIKey", name, READY)
    return published(stage, name)


def reasons(stage, name: str = "ci") -> list[str]:
    return [reason for _, reason, _ in stage.kube.events(name) if reason.startswith("Key")]


async def test_a_key_is_rotated_once_and_by_one_annotation(stage):
    operator = await stage.operate()
    first = await issued(stage)
    assert first.digest == digest(stage, "ci-key")
    stage.kube.apply(api_key("ci", {"penstock.dev/rotate": "1", "penstock.dev/rotate-overlap-seconds": "3600"}))
    rotated = await stage.until(lambda: (entry := published(stage)).previous and entry)
    assert rotated.digest == digest(stage, "ci-key") != first.digest
    assert (rotated.previous.id, rotated.previous.digest) == (first.id, first.digest)
    await stage.until(lambda: stage.kube.status("APIKey", "ci").get("keyPrefix") == rotated.prefix)
    # Events are written when there is time for them, and those that wait go with the operator.
    await stage.until(lambda: "KeyRotated" in reasons(stage))
    await stage.quiet()
    await stage.stop(operator)
    # Another one, that knows nothing, does not rotate again.
    before = len(stage.kube.asked)
    again = await stage.operate()
    await stage.until(lambda: again.ready()[0])
    await stage.quiet()
    assert not stage.kube.writes(before)["secrets"]
    assert published(stage) == rotated
    assert reasons(stage) == ["KeyIssued", "KeyRotated"]


async def test_what_was_before_leaves_the_catalog_when_its_time_is_over(stage):
    await stage.operate()
    await issued(stage)
    stage.kube.apply(api_key("ci", {"penstock.dev/rotate": "1", "penstock.dev/rotate-overlap-seconds": "2"}))
    await stage.until(lambda: published(stage).previous)
    await stage.until(lambda: published(stage).previous is None, 10)
    assert published(stage).digest == digest(stage, "ci-key")


async def test_a_move_that_stops_half_way_is_finished_by_the_next_operator(stage):
    operator = await stage.operate()
    first = await issued(stage)
    stage.kube.refused["DELETE", "secrets"] = 403
    stage.kube.apply(api_key("ci", secretName="elsewhere"))
    await stage.until(lambda: digest(stage, "elsewhere") == first.digest)
    assert published(stage).digest == first.digest
    await stage.stop(operator)
    stage.kube.refused.clear()
    await stage.operate()
    await stage.until(lambda: not stage.kube.get("Secret", "ci-key"))
    assert published(stage).digest == digest(stage, "elsewhere") == first.digest
    assert "KeyReissued" not in reasons(stage)


async def test_a_secret_that_cannot_be_written_is_told_and_tried_again(stage):
    stage.kube.refused["POST", "secrets"] = 403
    stage.kube.apply(api_key("cd"))
    await stage.operate()
    # The catalogs cannot be written either; nothing is published of a key that stands nowhere.
    await stage.quiet()
    assert published(stage) is None
    stage.kube.refused.clear()
    assert (await issued(stage)).digest == digest(stage, "ci-key")
    assert (await issued(stage, "cd")).digest == digest(stage, "cd-key")


async def test_a_deleted_secret_means_a_new_key_and_an_event(stage):
    await stage.operate()
    first = await issued(stage)
    await stage.until(lambda: stage.kube.status("APIKey", "ci").get("keyPrefix") == first.prefix)
    stage.kube.delete("Secret", "ci-key")
    await stage.until(lambda: digest(stage, "ci-key") not in {"", first.digest})
    await stage.until(lambda: getattr(published(stage), "digest", "") == digest(stage, "ci-key"))
    await stage.until(lambda: "KeyReissued" in reasons(stage))


async def test_an_apikey_that_is_made_anew_gets_a_new_key(stage):
    """Also where nothing collects garbage."""
    await stage.operate()
    first = await issued(stage)
    stage.kube.vanish("APIKey", "ci")
    stage.kube.apply(api_key("ci"))
    stage.kube.expire()
    await stage.until(lambda: digest(stage, "ci-key") not in {"", first.digest}, 60)
    await stage.until(lambda: getattr(published(stage), "digest", "") == digest(stage, "ci-key"))
    owner = stage.kube.get("Secret", "ci-key")["metadata"]["ownerReferences"][0]
    assert owner["uid"] == stage.kube.get("APIKey", "ci")["metadata"]["uid"]


async def test_two_that_name_one_secret_do_not_fight(stage):
    stage.kube.apply(api_key("cd", secretName="ci-key"))
    await stage.operate()
    said = await stage.until(
        lambda: {
            stage.kube.condition("APIKey", name) for name in ("ci", "cd")
        } == {READY, ("False", "SecretConflict")}
    )  # fmt: skip
    assert said
    assert not await stage.quiet()
    assert len(stage.auth_catalog().api_keys) == 1


async def test_a_foreign_secret_is_not_touched_and_the_key_works_on(stage):
    stage.kube.apply(secret("theirs", password="x"))
    await stage.operate()
    first = await issued(stage)
    held = stage.kube.get("Secret", "theirs")
    stage.kube.apply(api_key("ci", secretName="theirs"))
    await stage.until_said("APIKey", "ci", ("False", "SecretConflict"), "ResolvedRefs")
    assert stage.kube.get("Secret", "theirs") == held
    assert published(stage).digest == digest(stage, "ci-key") == first.digest


@pytest.mark.parametrize("name", ["penstock-auth-catalog-head", "penstock-edge-tls", "a-token"])
async def test_names_that_are_taken_in_any_way_do_no_harm(stage, name):
    token = secret("a-token", token="x") | {"type": "kubernetes.io/service-account-token"}
    stage.kube.apply(token, api_key("bad", secretName=name))
    await stage.operate()
    await stage.until_said("APIKey", "bad", ("False", "SecretConflict"), "ResolvedRefs")
    assert (await issued(stage)).digest == digest(stage, "ci-key")
    assert not await stage.quiet()
    stage.kube.apply(api_key("bad"))
    assert (await issued(stage, "bad")).digest == digest(stage, "bad-key")


async def test_a_rotation_that_makes_no_sense_is_told(stage):
    await stage.operate()
    first = await issued(stage)
    stage.kube.apply(api_key("ci", {"penstock.dev/rotate": "1", "penstock.dev/rotate-overlap-seconds": "a day"}))

    def notice() -> str:
        rows = stage.kube.status("APIKey", "ci")["conditions"]
        return next(row["message"] for row in rows if row["type"] == "Issued")

    await stage.until(lambda: "not rotated: penstock.dev/rotate-overlap-seconds" in notice())
    assert published(stage) == first


async def test_no_text_of_a_key_stands_outside_its_secret(stage, capfd):
    await stage.operate()
    await issued(stage)
    stage.kube.apply(api_key("ci", {"penstock.dev/rotate": "1"}))
    await stage.until(lambda: published(stage).previous)
    held = stage.kube.get("Secret", "ci-key")
    text = base64.b64decode(held["data"]["api-key"]).decode()[-38:]
    said = [json.dumps(stage.kube.all(kind)) for kind in ("APIKey", "Event", "Plan")]
    others = [item for item in stage.kube.all("Secret") if item["metadata"]["name"] != "ci-key"]
    said += [json.dumps(others), json.dumps(held["metadata"]), stage.auth_catalog().model_dump_json()]
    await stage.quiet()
    captured = capfd.readouterr()
    assert all(text not in each for each in [*said, captured.out, captured.err])


@pytest.mark.parametrize("note", ["key-issued-time", "previous-key-until"])
@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59.5Z"])
async def test_times_beyond_all_in_notes_hold_up_nobody(stage, note, time):
    notes = {"previous-key-id": "p", "previous-key-prefix": "p", "previous-key-digest": "0" * 64, note: time}
    taken = secret("ci-key", **{"api-key": "something"})
    taken["metadata"]["annotations"] = {f"penstock.dev/{name}": text for name, text in notes.items()}
    stage.kube.apply(taken, api_key("ci"), api_key("other"))
    await stage.operate()
    await stage.until_said("APIKey", "other", READY)
    await stage.until_said("APIKey", "ci", ("False", "SecretConflict"))


async def test_keys_that_cannot_be_made_hold_up_no_revocation(stage, monkeypatch):
    """As where somebody's webhook says nothing to new Secrets."""
    monkeypatch.setattr(keys, "_MOST_SECONDS", 0.5)
    operator = await stage.operate()
    await issued(stage)
    create, hanging = operator.cluster.create_secret, True

    async def hang(body):
        if hanging and body["metadata"]["name"].startswith("more-"):
            await asyncio.Event().wait()
        return await create(body)

    monkeypatch.setattr(operator.cluster, "create_secret", hang)
    stage.kube.apply(*(api_key(f"more-{number}") for number in range(10)))
    await stage.until(lambda: operator.seen.of(API_KEY).get("more-9"))
    stage.kube.apply(api_key("ci", mode="Revoked"))
    await stage.until(lambda: published(stage).mode == "Revoked")
    hanging = False
    await stage.until_said("APIKey", "more-9", READY)
