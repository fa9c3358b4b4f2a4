"""The operator as a process among real ones: what people apply is what clients meet, and what statuses say."""

from __future__ import annotations

import time

import pytest

from tests.operator.world import api_key, custom, plan, secret, world
from tests.stack import wait_until

# One gateway, whose story the tests tell in their order.
pytestmark = pytest.mark.xdist_group("operator-processes")

READY = ("True", "Ready")
SOON = 15.0
"""What is told by events is there in a second; what waited for the next list would take a minute."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with world(tmp_path_factory.mktemp("gateway"), "operator", "auth", "router", "edge") as made:
        made.apply_account("a")
        made.kube.apply(plan(), api_key("ci"))
        for kind, name in (("UpstreamAccount", "a"), ("Plan", "open"), ("APIKey", "ci")):
            made.await_condition(kind, name, READY)
        made.await_ready("operator", "edge")
        yield made


def test_what_is_applied_serves_a_request(gateway):
    answer = gateway.ask(gateway.issued("ci"))
    assert answer.good, answer
    kube = gateway.kube
    assert kube.condition("UpstreamAccount", "a", "Programmed") == ("True", "Programmed")
    gateway.await_condition("UpstreamAccount", "a", ("True", "Reachable"), "Reachable")
    status = kube.status("APIKey", "ci")
    assert gateway.issued("ci").startswith(status["keyPrefix"])
    wait_until("it is told", lambda: ("Normal", "Ready") in {event[:2] for event in kube.events("a")})


def test_nothing_of_ours_is_on_the_objects(gateway):
    for kind in ("UpstreamAccount", "Plan", "APIKey", "Secret"):
        for item in gateway.kube.all(kind):
            assert not item["metadata"].get("finalizers")
            assert not [name for name in item["metadata"].get("annotations", {}) if "kopf" in name]


def test_a_quiet_cluster_is_not_written_to(gateway):
    time.sleep(1.5)  # Whatever the last test has set off has ended.
    before = len(gateway.kube.asked)
    time.sleep(3)
    assert not gateway.kube.writes(before)


def test_a_new_account_is_live_soon(gateway):
    gateway.apply_account("b", tier=1)
    assert gateway.await_condition("UpstreamAccount", "b", ("True", "Programmed"), "Programmed") < SOON


def test_a_changed_secret_is_in_force_without_a_restart(gateway):
    """A credential that its provider refuses is not taken into use; one that works is."""
    kube, key = gateway.kube, gateway.issued("ci")
    before = kube.status("UpstreamAccount", "a")["credentialHash"]
    kube.apply(secret("a", **{"api-key": "sim-key-of-nobody"}))
    gateway.await_condition("UpstreamAccount", "a", ("False", "AuthRejected"), "Reachable")
    assert kube.condition("UpstreamAccount", "a") == READY
    assert kube.status("UpstreamAccount", "a")["credentialHash"] == before
    wait_until("it is told", lambda: ("Warning", "AuthRejected") in {event[:2] for event in kube.events("a")})
    assert gateway.ask(key).good
    kube.apply(secret("a", **{"api-key": "sim-key-b"}))
    wait_until(
        "the new credential is in force", lambda: kube.status("UpstreamAccount", "a")["credentialHash"] != before
    )
    gateway.await_condition("UpstreamAccount", "a", ("True", "Reachable"), "Reachable")
    gateway.await_condition("UpstreamAccount", "a", ("True", "Programmed"), "Programmed")
    gateway.simulator.forget()
    assert gateway.ask(key).good
    assert [record["account"] for record in gateway.simulator.messages()] == ["b"]
    wait_until("it is told", lambda: "CredentialRotated" in {reason for _, reason, _ in kube.events("a")})


def test_a_cooling_account_is_told_and_told_again_when_it_is_back(gateway):
    gateway.simulator.faults("b", {"operation": "messages", "set": {"fault": "429", "retry_after": "4"}, "count": 1})
    kube, key = gateway.kube, gateway.issued("ci")
    gateway.ask(key)
    wait_until("a cooldown is told", lambda: kube.status("UpstreamAccount", "a").get("cooldowns"))
    row = kube.status("UpstreamAccount", "a")["cooldowns"][0]
    assert row["reason"] == "Throttled"
    assert row["until"].endswith("Z")
    gateway.simulator.clear()
    wait_until("it is back", lambda: gateway.ask(key).good and not kube.status("UpstreamAccount", "a").get("cooldowns"))


def test_a_bad_object_spoils_no_other(gateway):
    kube = gateway.kube
    kube.apply(
        custom("UpstreamAccount", "broken", provider="Nobody", auth={}),
        custom("Plan", "broken", limits="many"),
        api_key("orphan", planRef={"name": "nowhere"}),
        custom("Model", "claude-haiku-4-5", aliases=["claude-sonnet-4-5"]),
    )
    gateway.await_condition("UpstreamAccount", "broken", ("False", "InvalidSpec"), "Accepted")
    gateway.await_condition("Plan", "broken", ("False", "InvalidSpec"))
    gateway.await_condition("APIKey", "orphan", ("False", "PlanNotFound"))
    gateway.await_condition("Model", "claude-haiku-4-5", ("False", "NameConflict"))
    assert gateway.readiness("operator") == (True, "")
    assert gateway.ask(gateway.issued("ci")).good
    for kind, name in (("UpstreamAccount", "broken"), ("Plan", "broken"), ("Model", "claude-haiku-4-5")):
        kube.delete(kind, name)


def test_a_deleted_account_takes_no_requests(gateway):
    kube, key = gateway.kube, gateway.issued("ci")
    kube.delete("UpstreamAccount", "b")
    kube.delete("UpstreamAccount", "a")
    wait_until("no account is left", lambda: gateway.ask(key).status in {404, 503, 529}, SOON)
    gateway.apply_account("a")
    gateway.await_condition("UpstreamAccount", "a", READY)
    wait_until("it serves again", lambda: gateway.ask(key).good, SOON)


def test_a_revoked_key_is_refused_soon(gateway):
    gateway.kube.apply(api_key("leaked"))
    gateway.await_condition("APIKey", "leaked", READY)
    key = gateway.issued("leaked")
    wait_until("it works", lambda: gateway.ask(key).good, SOON)
    gateway.kube.apply(api_key("leaked", mode="Revoked"))
    wait_until("it is refused", lambda: gateway.ask(key).status in {401, 403}, SOON, pause=0.02)
    gateway.await_condition("APIKey", "leaked", ("False", "Revoked"))


def test_a_key_whose_resource_is_deleted_is_refused(gateway):
    gateway.kube.apply(api_key("gone"))
    gateway.await_condition("APIKey", "gone", READY)
    key = gateway.issued("gone")
    gateway.kube.delete("APIKey", "gone")
    wait_until("it is refused", lambda: gateway.ask(key).status in {401, 403}, SOON)


class TestWhileTheOperatorIsDown:
    def test_what_changes_is_made_up_for_and_nothing_else_is_written(self, gateway):
        kube = gateway.kube
        time.sleep(1.5)
        gateway.stop("operator", kill=True)
        gateway.apply_account("b")
        kube.vanish("APIKey", "orphan")
        before = len(kube.asked)
        gateway.start("operator")
        gateway.await_condition("UpstreamAccount", "b", ("True", "Programmed"), "Programmed")
        gateway.await_condition("UpstreamAccount", "b", ("True", "Reachable"), "Reachable")
        gateway.await_condition("UpstreamAccount", "b", READY)
        writes = kube.writes(before)
        # A shard and the head of each catalog, and the words about b.
        assert writes["secrets"] <= 5, writes
        assert writes["upstreamaccounts/status"] <= 5, writes
        assert not writes["plans/status"] + writes["apikeys/status"], writes

    def test_a_restart_keeps_the_credential_that_is_in_force(self, gateway):
        kube, key = gateway.kube, gateway.issued("ci")
        kube.delete("UpstreamAccount", "b")
        before = kube.status("UpstreamAccount", "a")["credentialHash"]
        gateway.stop("operator")
        kube.apply(secret("a", **{"api-key": "sim-key-of-nobody"}))
        gateway.start("operator")
        gateway.await_condition("UpstreamAccount", "a", ("False", "AuthRejected"), "Reachable")
        assert kube.status("UpstreamAccount", "a")["credentialHash"] == before
        assert gateway.ask(key).good
        kube.apply(secret("a", **{"api-key": "sim-key-a"}))
        gateway.await_condition("UpstreamAccount", "a", ("True", "Reachable"), "Reachable")


def test_a_router_that_is_gone_stops_no_publication(gateway):
    gateway.stop("router", kill=True)
    version = gateway.metric("operator", "penstock_operator_catalog_version_timestamp_seconds")
    gateway.kube.apply(plan("later"))
    wait_until(
        "it is published",
        lambda: gateway.metric("operator", "penstock_operator_catalog_version_timestamp_seconds") != version,
    )
    gateway.await_condition("Plan", "later", READY)
    gateway.start("router")
    wait_until("requests are served", lambda: gateway.ask(gateway.issued("ci")).good, 20)


def test_an_api_server_that_is_gone_is_told_and_comes_back(gateway):
    gateway.running.stop()
    wait_until("the operator says so", lambda: not gateway.readiness("operator")[0], 30)
    assert "127.0.0.1" in gateway.readiness("operator")[1]
    gateway.kube.vanish("Plan", "later")
    gateway.running.start()
    gateway.kube.apply(api_key("after"))
    gateway.await_condition("APIKey", "after", READY)
    wait_until("the operator is ready", lambda: gateway.readiness("operator")[0], 30)


def test_nothing_secret_is_logged(gateway):
    log = gateway.log("operator")
    assert "catalog_published" in log
    assert "sim-key" not in log
    assert gateway.issued("ci") not in log
