"""What is known of the objects, whatever order news of them comes in."""

from __future__ import annotations

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.cluster import Listing
from penstock_operator.kinds import PLAN, SECRET, WATCHED
from penstock_operator.seen import Seen

KUBECTL = "kubectl.kubernetes.io/last-applied-configuration"


def plan(name="a", version=1, uid="u1", spec=None, status=None, **metadata):
    item = {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "Plan",
        "metadata": {"name": name, "uid": uid, "resourceVersion": str(version), **metadata},
        "spec": spec or {},
    }
    return item | ({"status": status} if status else {})


def secret(name, version=1, payload=b"", kind="Opaque"):
    data = {"payload": base64.b64encode(payload).decode()}
    return {"kind": "Secret", "metadata": {"name": name, "resourceVersion": str(version)}, "type": kind, "data": data}


class Woken:
    def __init__(self):
        self.times = 0
        self.seen = Seen(["catalog-head"], self.wake)

    def wake(self):
        self.times += 1


def test_nothing_is_complete_before_every_kind_has_been_listed():
    seen = Woken().seen
    for kind in WATCHED:
        assert not seen.complete
        seen.replace(kind, Listing((), "1"))
    assert seen.complete


class TestOlderNews:
    def test_does_not_replace_newer(self):
        seen = Woken().seen
        seen.put(PLAN, plan(version=5, spec={"credit": "Required"}))
        seen.put(PLAN, plan(version=4))
        assert seen.of(PLAN)["a"]["spec"] == {"credit": "Required"}

    def test_does_not_bring_back_what_is_deleted(self):
        seen = Woken().seen
        seen.put(PLAN, plan(version=4))
        seen.remove(PLAN, plan(version=6))
        seen.put(PLAN, plan(version=5))
        assert not seen.of(PLAN)
        seen.put(PLAN, plan(version=7, uid="u2"))
        assert seen.of(PLAN)["a"]["metadata"]["uid"] == "u2"

    def test_a_deletion_of_the_one_before_spares_the_one_after(self):
        seen = Woken().seen
        seen.put(PLAN, plan(version=9, uid="u2"))
        seen.remove(PLAN, plan(version=6, uid="u1"))
        assert "a" in seen.of(PLAN)

    def test_a_list_takes_away_what_it_does_not_name_unless_that_is_younger(self):
        seen = Woken().seen
        seen.put(PLAN, plan("old", version=3))
        seen.put(PLAN, plan("young", version=12))
        seen.replace(PLAN, Listing((plan("listed", version=5),), "10"))
        assert set(seen.of(PLAN)) == {"young", "listed"}

    def test_a_list_made_before_a_deletion_brings_nothing_back(self):
        seen = Woken().seen
        seen.put(PLAN, plan(version=4))
        seen.remove(PLAN, plan(version=11))
        seen.replace(PLAN, Listing((plan(version=4),), "10"))
        assert not seen.of(PLAN)


class TestABackupInThePlaceOfTheStore:
    def test_takes_versions_back_and_is_the_truth(self):
        woken = Woken()
        seen = woken.seen
        seen.replace(PLAN, Listing((plan(version=90, spec={"credit": "Required"}), plan("new", version=95)), "100"))
        seen.remove(PLAN, plan("gone", version=99))
        seen.replace(PLAN, Listing((plan(version=40), plan("gone", version=30)), "50"))
        assert {name: item["spec"] for name, item in seen.of(PLAN).items()} == {"a": {}, "gone": {}}
        seen.put(PLAN, plan(version=51, spec={"credit": "Required"}))
        assert seen.of(PLAN)["a"]["spec"]

    def test_holds_for_what_is_published_too(self):
        seen = Woken().seen
        seen.replace(SECRET, Listing((secret("catalog-head", version=90, payload=b"new"),), "100"))
        seen.replace(SECRET, Listing((secret("catalog-head", version=40, payload=b"old"),), "50"))
        assert seen.digest("catalog-head") == hashlib.sha256(b"old").hexdigest()


news = st.lists(st.tuples(st.sampled_from(["put", "remove"]), st.integers(1, 8)), max_size=12)


@given(news=news, present=st.booleans())
def test_a_list_puts_everything_right(news, present):
    """Whatever has been heard, in whatever order: a list that is newer than all of it is the truth."""
    seen = Woken().seen
    for what, version in news:
        getattr(seen, what)(PLAN, plan(version=version))
    seen.replace(PLAN, Listing((plan(version=9),) if present else (), "9"))
    assert ("a" in seen.of(PLAN)) == present


class TestWaking:
    def test_what_decisions_are_made_of_counts_and_wakes(self):
        woken = Woken()
        seen = woken.seen
        seen.put(PLAN, plan(version=1))
        assert (woken.times, seen.revision) == (1, 1)
        seen.put(PLAN, plan(version=2, spec={"credit": "Required"}))
        assert (woken.times, seen.revision) == (2, 2)
        seen.put(PLAN, plan(version=3, spec={"credit": "Required"}, annotations={"penstock.dev/rotate": "x"}))
        assert (woken.times, seen.revision) == (3, 3)
        seen.remove(PLAN, plan(version=4))
        assert (woken.times, seen.revision) == (4, 4)

    def test_a_status_that_others_have_touched_wakes_and_changes_no_decision(self):
        woken = Woken()
        woken.seen.put(PLAN, plan(version=1))
        woken.seen.put(PLAN, plan(version=2, status={"observedGeneration": 7}))
        assert (woken.times, woken.seen.revision) == (2, 1)

    def test_our_own_words_coming_back_wake_nobody(self):
        woken = Woken()
        woken.seen.put(PLAN, plan(version=1))
        ours = plan(version=2, status={"observedGeneration": 1})
        woken.seen.put(PLAN, ours, quiet=True)
        woken.seen.put(PLAN, ours)
        woken.seen.put(
            PLAN,
            plan(version=2, status={"observedGeneration": 1}, managedFields=[{}], annotations={KUBECTL: "{}"}),
        )
        assert woken.times == 1


class TestSecrets:
    def test_of_a_catalog_only_a_digest_is_kept(self):
        woken = Woken()
        woken.seen.put(SECRET, secret("catalog-head", 1, b"payload"))
        assert woken.seen.digest("catalog-head") == hashlib.sha256(b"payload").hexdigest()
        assert not woken.seen.of(SECRET)
        assert woken.times == 1
        woken.seen.put(SECRET, secret("catalog-head", 2, b"tampered"))
        assert woken.times == 2
        woken.seen.remove(SECRET, secret("catalog-head", 3))
        assert woken.seen.digest("catalog-head") == ""
        assert woken.times == 3

    def test_a_catalog_that_a_list_does_not_name_is_gone(self):
        woken = Woken()
        woken.seen.put(SECRET, secret("catalog-head", 1, b"payload"))
        woken.seen.replace(SECRET, Listing((), "5"))
        assert woken.seen.digest("catalog-head") == ""

    def test_releases_of_helm_and_tokens_are_passed_over(self):
        seen = Woken().seen
        seen.put(SECRET, secret("release", kind="helm.sh/release.v1"))
        seen.put(SECRET, secret("token", kind="kubernetes.io/service-account-token"))
        assert not seen.of(SECRET)

    def test_what_kubectl_notes_is_not_kept(self):
        seen = Woken().seen
        item = secret("a")
        item["metadata"] |= {"annotations": {KUBECTL: "the whole secret", "mine": "1"}, "managedFields": [{}]}
        seen.put(SECRET, item)
        assert seen.of(SECRET)["a"]["metadata"] == {
            "name": "a", "resourceVersion": "1", "annotations": {"mine": "1"}
        }  # fmt: skip
