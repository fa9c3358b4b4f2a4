"""One APIKey's Secret: what is decided for each state in which it may be found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from penstock_catalog import api_key
from penstock_catalog.compiler import IssuedKey, KeyFailure
from penstock_catalog.documents import PreviousKey
from penstock_operator.issuing import Create, Delete, Patch
from penstock_operator.key_secrets import read
from tests.operator.api_key_world import START, World, new_key

DAY = 86_400


@pytest.fixture
def world() -> World:
    return World()


def test_a_key_is_written_first_and_published_as_it_was_read(world):
    decision = world.look()
    assert decision.issued == KeyFailure("NotIssued", "its key is being made")
    assert (decision.key_prefix, decision.issued_time, decision.next_check) == ("", "", None)
    issued = world.settle()
    text = world.text("ci-key")
    assert api_key.well_formed(text)
    assert issued == IssuedKey(api_key.public_id(text), api_key.shown(text), api_key.digest(text).hex())
    assert (world.decision.key_prefix, world.decision.issued_time) == (api_key.shown(text), "2026-03-01T12:00:00Z")
    assert world.reasons == ["KeyIssued"]
    assert world.writes == 1
    assert not world.step()


def test_the_secret_says_in_public_what_it_is(world):
    issued = world.settle()
    metadata = world.secrets["ci-key"]["metadata"]
    assert metadata["annotations"] == {
        "penstock.dev/api-key": "ci",
        "penstock.dev/key-id": issued.id,
        "penstock.dev/key-prefix": issued.prefix,
        "penstock.dev/key-digest": issued.digest,
        "penstock.dev/key-issued-time": "2026-03-01T12:00:00Z",
    }
    assert metadata["labels"]["penstock.dev/api-key"] == "ci"
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "penstock-operator"
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "penstock.dev/v1alpha1", "kind": "APIKey", "name": "ci",
            "uid": world.resource["metadata"]["uid"], "controller": True, "blockOwnerDeletion": False,
        }
    ]  # fmt: skip
    assert world.secrets["ci-key"]["type"] == "Opaque"
    assert list(world.secrets["ci-key"]["data"]) == ["api-key"]


def test_a_deleted_secret_means_a_new_key_and_an_event(world):
    first = world.settle()
    del world.secrets["ci-key"]
    second = world.settle()
    assert second.digest != first.digest
    assert second.previous is None
    assert world.reasons == ["KeyIssued", "KeyReissued"]
    assert first.prefix in world.events[-1].message
    assert world.events[-1].type == "Warning"


@pytest.mark.parametrize("revoked", [False, True])
def test_a_revoked_key_keeps_its_secret(world, revoked):
    world.resource["spec"] |= {"mode": "Revoked"} if revoked else {}
    issued = world.settle()
    assert issued.digest == world.digest("ci-key")


# Somebody else's Secret.


@pytest.mark.parametrize(
    "owners",
    [
        [],
        [{"apiVersion": "penstock.dev/v1alpha1", "kind": "APIKey", "name": "other", "uid": "u"}],
        [{"apiVersion": "v1", "kind": "ConfigMap", "name": "ci", "uid": "u"}],
    ],
)
def test_a_secret_of_somebody_else_is_left_alone(world, owners):
    world.put("ci-key", {"api-key": new_key(99).text}, owners=owners)
    decision = world.look()
    assert decision.write is None
    assert isinstance(decision.issued, KeyFailure)
    assert decision.issued.reason == "SecretConflict"
    assert decision.key_prefix == ""
    del world.secrets["ci-key"]
    assert world.settle().digest == world.digest("ci-key")


def test_who_is_first_has_the_secret(world):
    """The second operator's (or APIKey's) creation fails, and what it reads then decides."""
    late = world.look()
    assert isinstance(late.write, Create)
    first = world.settle()
    assert not world.do(late.write)
    assert world.settle() == first


def test_a_patch_fits_only_the_secret_that_was_read(world):
    world.settle()
    world.annotate(rotate="1")
    late = world.look()
    assert isinstance(late.write, Patch)
    rotated = world.settle()
    assert not world.do(late.write)
    assert world.settle() == rotated
    assert world.reasons == ["KeyIssued", "KeyRotated"]


# Re-creation.


def test_a_secret_of_a_deleted_apikey_of_this_name_goes_and_its_key_ends(world):
    first = world.settle()
    world.pass_time(60)
    world.apply_resource("ci-key")
    decision = world.look()
    assert isinstance(decision.write, Delete)
    assert isinstance(decision.issued, KeyFailure)
    second = world.settle()
    assert second.digest != first.digest
    assert world.secrets["ci-key"]["metadata"]["ownerReferences"][0]["uid"] == world.resource["metadata"]["uid"]


def test_one_that_is_younger_than_the_apikey_is_not_touched(world):
    """Then it is this operator that is out of date."""
    old = world.resource
    world.pass_time(60)
    world.apply_resource("ci-key")
    world.settle()
    world.resource = old
    decision = world.look()
    assert decision.write is None
    assert decision.issued.reason == "SecretConflict"


def test_a_key_that_was_kept_on_purpose_goes_on(world):
    first = world.settle()
    world.secrets["ci-key"]["metadata"]["ownerReferences"] = []
    world.apply_resource("ci-key")
    assert isinstance(world.look().issued, KeyFailure)
    assert world.settle() == first
    assert world.reasons == ["KeyIssued", "KeyAdopted"]
    assert world.secrets["ci-key"]["metadata"]["ownerReferences"][0]["uid"] == world.resource["metadata"]["uid"]


@pytest.mark.parametrize(("name", "text"), [("other", new_key(5).text), ("ci", "no key")])
def test_one_that_is_for_another_or_holds_no_key_is_not_taken_over(world, name, text):
    world.put("ci-key", {"api-key": text}, **{"penstock.dev/api-key": name})
    assert world.look().issued.reason == "SecretConflict"
    assert world.look().write is None


def test_a_key_from_another_cluster_goes_on_with_its_history(world):
    """Copied with its annotations and without its owner; what is left of the overlap counts here too."""
    world.settle()
    world.annotate(rotate="1")
    rotated = world.settle()
    here = World()
    secret = world.secrets["ci-key"]
    here.put("ci-key", {"api-key": world.text("ci-key")}, **secret["metadata"]["annotations"])
    here.annotate(rotate="1")
    assert here.settle() == rotated


def test_nothing_is_done_for_an_apikey_that_is_being_deleted(world):
    world.settle()
    world.resource["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    world.secrets["ci-key"]["metadata"]["ownerReferences"] = []
    assert world.look().issued.reason == "Deleting"
    assert world.look().write is None


# Moving.


def test_a_changed_name_moves_the_key_and_it_works_meanwhile(world):
    first = world.settle()
    world.pass_time(100)
    world.resource["spec"]["secretName"] = "new"
    decision = world.look()
    assert (decision.issued, type(decision.write), decision.write.name) == (first, Create, "new")
    assert world.step()
    assert set(world.secrets) == {"ci-key", "new"}
    decision = world.look()
    assert (decision.issued, decision.write.name) == (first, "ci-key")
    assert isinstance(decision.write, Delete)
    assert world.settle() == first
    assert set(world.secrets) == {"new"}
    assert world.digest("new") == first.digest
    assert world.decision.issued_time == "2026-03-01T12:00:00Z"
    assert world.reasons == ["KeyIssued", "KeyMoved"]


def test_a_move_takes_the_previous_text_and_the_rotation_along(world):
    world.settle()
    world.annotate(rotate="1")
    rotated = world.settle()
    world.resource["spec"]["secretName"] = "new"
    assert world.settle() == rotated
    assert world.reasons == ["KeyIssued", "KeyRotated", "KeyMoved"]


def test_a_key_whose_new_name_is_taken_works_on_from_the_old_secret(world):
    first = world.settle()
    world.put("taken", {"password": "x"})
    world.resource["spec"]["secretName"] = "taken"
    decision = world.look()
    assert decision.write is None
    assert decision.issued == replace(first, failure=decision.issued.failure)
    assert decision.issued.failure.reason == "SecretConflict"
    assert decision.key_prefix == first.prefix
    assert world.secrets["taken"]["data"] == {"password": "eA=="}
    del world.secrets["taken"]
    assert world.settle() == first


def test_a_kept_secret_is_not_taken_over_by_one_who_has_a_key(world):
    first = world.settle()
    world.put("kept", {"api-key": new_key(50).text}, **{"penstock.dev/api-key": "ci"})
    world.resource["spec"]["secretName"] = "kept"
    assert world.look().issued == replace(first, failure=world.decision.issued.failure)
    assert world.decision.issued.failure.reason == "SecretConflict"


def test_what_people_tie_to_an_apikey_is_not_deleted_as_left_behind(world):
    world.settle()
    owners = world.secrets["ci-key"]["metadata"]["ownerReferences"]
    world.put("theirs", {"x": "y"}, owners=owners)
    assert not world.step()
    assert "theirs" in world.secrets


def test_moved_and_rotated_at_once(world):
    first = world.settle()
    world.resource["spec"]["secretName"] = "new"
    world.annotate(rotate="1")
    issued = world.settle()
    assert issued.previous.digest == first.digest
    assert set(world.secrets) == {"new"}
    assert world.reasons == ["KeyIssued", "KeyMoved", "KeyRotated"]


# Rotation.


def test_a_rotation_makes_a_new_key_and_the_old_one_goes_on_for_a_day(world):
    first = world.settle()
    world.pass_time(100)
    world.annotate(rotate="2026-03")
    assert world.look().issued == first
    second = world.settle()
    until = START + timedelta(seconds=100 + DAY)
    assert second.digest == world.digest("ci-key") != first.digest
    assert second.previous == PreviousKey(
        id=first.id, prefix=first.prefix, digest=first.digest, expires_at_ms=int(until.timestamp()) * 1000
    )
    assert world.decision.next_check == until
    assert world.decision.issued_time == "2026-03-01T12:01:40Z"
    assert (
        world.secrets["ci-key"]["metadata"]["annotations"]
        | {
            "penstock.dev/previous-key-prefix": first.prefix,
            "penstock.dev/previous-key-until": "2026-03-02T12:01:40Z",
            "penstock.dev/rotated": "2026-03",
        }
        == world.secrets["ci-key"]["metadata"]["annotations"]
    )
    assert world.events[-1].message == (
        f"Key {second.prefix} is in Secret ci-key; {first.prefix} goes on until 2026-03-02T12:01:40Z"
    )
    assert not world.step()
    world.pass_time(DAY - 1)
    assert world.look().issued == second
    world.pass_time(1)
    assert world.look().issued == replace(second, previous=None)
    assert world.decision.next_check is None
    assert world.decision.write is None


def test_a_second_rotation_within_the_overlap_ends_the_oldest(world):
    world.settle()
    world.annotate(rotate="1")
    second = world.settle()
    world.annotate(rotate="2")
    third = world.settle()
    assert third.previous.digest == second.digest
    assert f"{second.previous.prefix} has ended before its time" in world.events[-1].message


@pytest.mark.parametrize(("overlap", "revoked"), [("0", False), ("500", True)])
def test_without_overlap_the_old_key_ends_at_once(world, overlap, revoked):
    world.settle()
    world.annotate(rotate="1")
    second = world.settle()
    world.annotate(rotate="2", rotate_overlap_seconds=overlap)
    world.resource["spec"] |= {"mode": "Revoked"} if revoked else {}
    third = world.settle()
    assert third.digest != second.digest
    assert third.previous is None
    assert "penstock.dev/previous-key-digest" not in world.secrets["ci-key"]["metadata"]["annotations"]


@pytest.mark.parametrize(("overlap", "seconds"), [("2592000", 30 * DAY), ("1", 1), ("  60 ", 60), ("", DAY)])
def test_overlaps_that_make_sense(world, overlap, seconds):
    world.settle()
    world.now += timedelta(milliseconds=1)
    world.annotate(rotate="1", rotate_overlap_seconds=overlap)
    issued = world.settle()
    # An overlap is never shorter than was asked for, and at most a second longer.
    assert issued.previous.expires_at_ms == int(START.timestamp() + seconds + 1) * 1000


@pytest.mark.parametrize("overlap", ["2592001", "-1", "1.5", "a day", "9" * 30, "²"])
def test_overlaps_that_make_no_sense_rotate_nothing(world, overlap):
    first = world.settle()
    world.annotate(rotate="1", rotate_overlap_seconds=overlap)
    decision = world.look()
    assert (decision.issued, decision.write) == (first, None)
    assert decision.notice == "not rotated: penstock.dev/rotate-overlap-seconds is 0 to 2592000 seconds"
    world.annotate(rotate_overlap_seconds="5")
    assert world.settle().previous is not None


def test_a_new_key_needs_no_rotation(world):
    """Also when the annotation stands in Git, and when the Secret was deleted for a new key."""
    world.annotate(rotate="1")
    assert world.settle().previous is None
    del world.secrets["ci-key"]
    world.annotate(rotate="2")
    assert world.settle().previous is None
    assert world.reasons == ["KeyIssued", "KeyReissued"]
    world.annotate(rotate="")
    assert not world.step()


def test_a_long_rotation_is_noted_by_its_digest(world):
    world.settle()
    world.annotate(rotate="x" * 100_000)
    world.settle()
    assert len(world.secrets["ci-key"]["metadata"]["annotations"]["penstock.dev/rotated"]) == 71
    assert not world.step()


def test_an_immutable_secret_is_not_rotated(world):
    first = world.settle()
    world.secrets["ci-key"]["immutable"] = True
    world.annotate(rotate="1")
    decision = world.look()
    assert (decision.issued, decision.write) == (first, None)
    assert decision.notice == "not rotated: Secret ci-key is immutable"


# What people do to the Secret.


@pytest.mark.parametrize("text", ["", "secret", new_key(7).text[:-1] + "!", new_key(7).text[:-1]])
def test_a_text_that_is_no_key_is_told_and_left_alone(world, text):
    first = world.settle()
    good = world.text("ci-key")
    world.write_text("ci-key", text)
    world.annotate(rotate="1")
    decision = world.look()
    assert decision.write is None
    assert decision.issued.reason == "SecretInvalid"
    world.write_text("ci-key", good + "\n")
    assert world.look().issued.digest == first.digest
    del world.secrets["ci-key"]
    assert world.settle().digest != first.digest


@pytest.mark.parametrize(
    "damage", [{"data": None}, {"data": {}}, {"data": {"api-key": "%%%"}}, {"data": {"api-key": "//8="}}]
)
def test_what_is_not_even_text(world, damage):
    world.settle()
    world.secrets["ci-key"] |= damage
    assert read(world.secrets["ci-key"]).key is None
    assert world.look().issued.reason == "SecretInvalid"


def test_another_key_that_somebody_wrote_is_in_force(world):
    first = world.settle()
    other = new_key(77)
    world.pass_time(5)
    world.write_text("ci-key", other.text)
    assert world.look().issued.digest == other.digest.hex()
    issued = world.settle()
    assert issued.digest == other.digest.hex()
    assert issued.previous is None
    assert world.decision.issued_time == "2026-03-01T12:00:05Z"
    assert world.reasons == ["KeyIssued", "KeyReplaced"]
    assert first.prefix in world.events[-1].message
    assert world.writes == 2


def test_notes_that_somebody_removed_are_written_again(world):
    world.annotate(rotate="1")
    first = world.settle()
    world.secrets["ci-key"]["metadata"]["annotations"] = {}
    assert world.settle() == first
    assert world.reasons == ["KeyIssued"]
    notes = world.secrets["ci-key"]["metadata"]["annotations"]
    assert (notes["penstock.dev/rotated"], notes["penstock.dev/key-digest"]) == ("1", first.digest)


@pytest.mark.parametrize(
    ("note", "value"),
    [
        ("previous-key-until", "2026-09-01T12:00:00Z"),
        ("previous-key-until", "tomorrow"),
        ("previous-key-until", "2026-03-01T13:00:00"),
        ("previous-key-digest", "xyz"),
        ("previous-key-digest", "A" * 64),
        ("previous-key-id", ""),
        ("previous-key-prefix", "two words"),
    ],
)
def test_notes_that_no_rotation_writes_do_not_count(world, note, value):
    world.settle()
    world.annotate(rotate="1")
    assert world.settle().previous is not None
    world.secrets["ci-key"]["metadata"]["annotations"][f"penstock.dev/{note}"] = value
    assert world.look().issued.previous is None


def test_a_text_that_is_put_back_is_not_its_own_previous(world):
    world.settle()
    old = world.text("ci-key")
    world.annotate(rotate="1")
    assert world.settle().previous is not None
    world.write_text("ci-key", old)
    assert world.settle().previous is None


def test_a_secret_that_is_being_deleted_holds_no_key(world):
    world.settle()
    world.secrets["ci-key"]["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert world.look().issued.reason == "SecretTerminating"
    assert world.look().write is None


def test_a_key_does_not_move_out_of_a_secret_that_is_being_deleted(world):
    first = world.settle()
    world.secrets["ci-key"]["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    world.resource["spec"]["secretName"] = "new"
    assert world.settle().digest != first.digest


def test_what_else_is_in_the_secret_stays(world):
    world.settle()
    world.secrets["ci-key"]["data"]["mine"] = "eA=="
    world.secrets["ci-key"]["metadata"]["labels"]["team"] = "a"
    world.annotate(rotate="1")
    world.settle()
    assert world.secrets["ci-key"]["data"]["mine"] == "eA=="
    assert world.secrets["ci-key"]["metadata"]["labels"]["team"] == "a"
