"""Service keys on a real API server: issued into a Secret, rotated with an overlap, moved, revoked within two seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import namespace_of, patience
from tests.cluster.fleet import Fleet, custom, running
from tests.cluster.kubernetes import ACCOUNT, API_KEY, GROUP_VERSION, SECRET, Kubernetes, eventually

pytestmark = pytest.mark.usefixtures("definitions")

Json = Any
REVOKED_SECONDS = 2.0


@pytest.fixture(scope="module")
def fleet(cluster: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with namespace_of(cluster, "keys") as inside, running(inside, tmp_path_factory.mktemp("keys")) as fleet:
        fleet.account("a")
        fleet.await_condition(ACCOUNT, "a", "Ready", "True")
        yield fleet


def document(name: str, **spec: Any) -> Json:
    said = {"project": f"project-{name}", "planRef": {"name": "open"}, "secretName": f"{name}-key"} | spec
    return custom("APIKey", name, said)


def annotate(fleet: Fleet, name: str, **annotations: str) -> None:
    said = {f"penstock.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    fleet.api.patch(API_KEY, name, {"metadata": {"annotations": said}}).expect()


def test_a_key_is_issued_into_its_secret(fleet: Fleet) -> None:
    key = fleet.key("issued")
    found = fleet.api.read(API_KEY, "issued").expect()
    secret = fleet.api.read(SECRET, "issued-key").expect()
    (owner,) = secret["metadata"]["ownerReferences"]
    assert {name: owner[name] for name in ("apiVersion", "kind", "name", "uid")} == {
        "apiVersion": GROUP_VERSION,
        "kind": "APIKey",
        "name": "issued",
        "uid": found["metadata"]["uid"],
    }
    assert not owner.get("blockOwnerDeletion")
    assert key.startswith("psk_")
    assert key.startswith(found["status"]["keyPrefix"])
    assert len(found["status"]["keyPrefix"]) < len(key) / 2
    assert found["status"]["issuedTime"]
    assert fleet.await_answer(key, 200).good


def test_a_revoked_key_is_refused_within_two_seconds(fleet: Fleet) -> None:
    key = fleet.key("revoked")
    fleet.await_answer(key, 200)
    fleet.apply(document("revoked", mode="Revoked"))
    began = time.monotonic()
    fleet.await_answer(key, 401, seconds=20)
    took = time.monotonic() - began
    assert took < patience(REVOKED_SECONDS), f"{took:.2f} s after the API server had taken the change"
    fleet.await_condition(API_KEY, "revoked", "Ready", "False", "Revoked")
    fleet.apply(document("revoked", mode="Active"))
    fleet.await_answer(key, 200)


def test_so_is_a_deleted_one(fleet: Fleet) -> None:
    key = fleet.key("gone")
    fleet.await_answer(key, 200)
    fleet.api.delete(API_KEY, "gone").expect()
    began = time.monotonic()
    fleet.await_answer(key, 401, seconds=20)
    assert time.monotonic() - began < patience(REVOKED_SECONDS)


@pytest.mark.usefixtures("garbage_collector")
def test_a_deleted_keys_secret_goes_with_it(fleet: Fleet) -> None:
    fleet.key("left")
    fleet.api.delete(API_KEY, "left").expect()
    eventually("the garbage collector removes its Secret", lambda: fleet.api.secret("left-key") is None, patience(60))


def test_rotation_with_an_overlap(fleet: Fleet) -> None:
    old = fleet.key("turning")
    fleet.await_answer(old, 200)
    annotate(fleet, "turning", rotate="2026-11", rotate_overlap_seconds="600")

    def another() -> str | None:
        held = fleet.written_key("turning-key")
        return held if held != old else None

    new = eventually("there is another key", another, patience(30))
    assert fleet.await_answer(new, 200).good
    assert fleet.ask(old).status == 200, "the old one goes on for a time"
    kept = fleet.api.read(SECRET, "turning-key").expect()
    assert old not in str(kept)
    # The same text asks for nothing new.
    annotate(fleet, "turning", rotate="2026-11")
    fleet.await_condition(API_KEY, "turning", "Ready", "True")
    assert fleet.written_key("turning-key") == new


def test_rotation_without_an_overlap(fleet: Fleet) -> None:
    old = fleet.key("abrupt")
    fleet.await_answer(old, 200)
    annotate(fleet, "abrupt", rotate="now", rotate_overlap_seconds="0")
    eventually("there is another key", lambda: fleet.written_key("abrupt-key") != old, patience(30))
    fleet.await_answer(fleet.written_key("abrupt-key"), 200)
    fleet.await_answer(old, 401)


def test_an_overlap_ends_by_itself(fleet: Fleet) -> None:
    old = fleet.key("lapsing")
    fleet.await_answer(old, 200)
    annotate(fleet, "lapsing", rotate="1", rotate_overlap_seconds="5")
    eventually("there is another key", lambda: fleet.written_key("lapsing-key") != old, patience(30))
    fleet.await_answer(old, 401, seconds=30)
    assert fleet.await_answer(fleet.written_key("lapsing-key"), 200).good


def test_a_deleted_secret_means_a_new_key_and_an_event(fleet: Fleet) -> None:
    old = fleet.key("lost")
    fleet.await_answer(old, 200)
    fleet.api.delete(SECRET, "lost-key").expect()

    def another() -> bool:
        held = fleet.api.secret("lost-key")
        return held is not None and held.get("api-key", b"").decode() not in {"", old}

    eventually("there is another key", another, patience(30))
    fleet.await_answer(fleet.written_key("lost-key"), 200)
    fleet.await_answer(old, 401)
    fleet.await_event("lost", "KeyReissued")


def test_a_changed_secret_name_moves_the_key(fleet: Fleet) -> None:
    key = fleet.key("moving")
    fleet.apply(document("moving", secretName="moving-key-2"))
    assert fleet.written_key("moving-key-2") == key
    eventually("the old Secret is gone", lambda: fleet.api.secret("moving-key") is None, patience(30))
    assert fleet.await_answer(key, 200).good


def test_somebody_elses_secret_is_left_alone(fleet: Fleet) -> None:
    held = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "precious"}, "stringData": {"password": "x"}}
    before = fleet.api.create(held).expect()
    fleet.apply(document("intruder", secretName="precious"))
    fleet.await_condition(API_KEY, "intruder", "ResolvedRefs", "False", "SecretConflict")
    assert (
        fleet.api.read(SECRET, "precious").expect()["metadata"]["resourceVersion"]
        == before["metadata"]["resourceVersion"]
    )
    fleet.api.delete(SECRET, "precious").expect()
    fleet.await_condition(API_KEY, "intruder", "Ready", "True")
    assert fleet.await_answer(fleet.written_key("precious"), 200).good


def test_an_expired_key(fleet: Fleet) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + patience(15)))
    key = fleet.key("brief", expirationTime=moment)
    fleet.await_answer(key, 200, seconds=10)
    fleet.await_answer(key, 403, seconds=40)
    fleet.await_condition(API_KEY, "brief", "Ready", "False", "Expired")


def test_a_key_made_while_the_operator_was_down(fleet: Fleet) -> None:
    fleet.stop("operator")
    fleet.apply(document("waiting"))
    lasting = fleet.api.list(SECRET)
    assert "waiting-key" not in {one["metadata"]["name"] for one in lasting}
    fleet.start("operator")
    fleet.await_condition(API_KEY, "waiting", "Ready", "True")
    assert fleet.await_answer(fleet.written_key("waiting-key"), 200).good


def test_fifty_keys_at_once(fleet: Fleet) -> None:
    names = [f"bulk-{number:02}" for number in range(50)]
    for name in names:
        fleet.apply(document(name, project="bulk"))

    def unready() -> list[str]:
        status = {one["metadata"]["name"]: one.get("status") or {} for one in fleet.api.list(API_KEY)}
        return [
            name
            for name in names
            if not any(
                (row["type"], row["status"]) == ("Ready", "True") for row in status[name].get("conditions") or ()
            )
        ]

    eventually("all are ready", lambda: not unready(), patience(90), pause=0.5, seen=lambda: unready()[:5])
    keys = {fleet.written_key(f"{name}-key") for name in names}
    assert len(keys) == len(names)
    assert fleet.await_answer(keys.pop(), 200).good
