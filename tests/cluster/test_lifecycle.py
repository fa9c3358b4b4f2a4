"""The life of accounts: from a resource to a served request, rotation, drain, deletion, and what goes wrong beside it.

Operator, router, auth and edge are processes of this machine; the API server, its RBAC and the resources are real.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from penstock_catalog.shards import secret_names
from tests.client import Exchange, exchange, payload
from tests.cluster import kubernetes as k8s
from tests.cluster.conftest import namespace_of, patience
from tests.cluster.fleet import Fleet, custom, published, running
from tests.cluster.kubernetes import ACCOUNT, API_KEY, MODEL, OURS, PLAN, SECRET, Kubernetes, eventually
from tests.stack import MODEL as MODEL_NAME

pytestmark = pytest.mark.usefixtures("definitions")

Json = Any
CONDITIONS = {
    "UpstreamAccount": {"Accepted", "ResolvedRefs", "Programmed", "Reachable", "Ready"},
    "Model": {"Accepted", "Programmed", "Ready"},
    "Plan": {"Accepted", "Programmed", "Ready"},
    "APIKey": {"Accepted", "ResolvedRefs", "Issued", "Programmed", "Ready"},
}


@pytest.fixture(scope="module")
def started(cluster: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with namespace_of(cluster, "lifecycle") as inside, running(inside, tmp_path_factory.mktemp("lifecycle")) as fleet:
        yield fleet


@pytest.fixture
def fleet(started: Fleet) -> Iterator[Fleet]:
    """The processes, all of them running, with nothing but the open plan."""
    for name in ("operator", "auth", "router", "edge"):
        if name not in started.processes:
            started.start(name)
    started.await_ready("operator")
    started.await_ready("edge")
    started.simulator.clear()
    started.simulator.forget()
    yield started
    for kind in (ACCOUNT, API_KEY, MODEL):
        started.api.request("DELETE", kind.path(started.api.namespace)).expect()


class Streaming:
    """A request that streams in the background."""

    def __init__(self, fleet: Fleet, key: str, directive: str) -> None:
        self.seen = Exchange()
        body = payload(directive, stream=True)
        work = exchange(fleet.ports["edge"], key, body, seen=self.seen)
        self._thread = threading.Thread(target=lambda: asyncio.run(work))
        self._thread.start()
        eventually("the stream has begun", lambda: b"content_block" in self.seen.body, patience(20))

    def end(self) -> Exchange:
        self._thread.join(patience(60))
        assert not self._thread.is_alive()
        return self.seen


SLOW = "chunks=40 pace=100ms tokens=120"


def digest(credential: str) -> str:
    return hashlib.sha256(credential.encode()).hexdigest()[:12]


def test_from_resources_to_a_served_request(fleet: Fleet) -> None:
    fleet.account("a")
    key = fleet.key("first")
    for kind, name in ((ACCOUNT, "a"), (PLAN, "open"), (API_KEY, "first")):
        fleet.await_condition(kind, name, "Ready", "True")
    for kind, name in (("UpstreamAccount", "a"), ("Plan", "open"), ("APIKey", "first")):
        conditions = fleet.conditions(OURS[kind], name)
        assert set(conditions) == CONDITIONS[kind]
        fleet.await_condition(OURS[kind], name, "Programmed", "True")
    fleet.await_condition(ACCOUNT, "a", "Reachable", "True")
    found = fleet.api.read(ACCOUNT, "a").expect()
    assert found["status"]["credentialHash"] == digest("sim-key-a")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    answer = fleet.await_answer(key, 200)
    assert answer.good, answer.body
    assert fleet.served_by()[-1] == "a"
    for component in ("router", "auth"):
        prefix = f"{fleet.release}-{component}-catalog"
        assert set(published(fleet.api, prefix)) == set(secret_names(prefix))


def test_nothing_of_ours_ever_has_a_finalizer(fleet: Fleet) -> None:
    fleet.account("a")
    fleet.key("plain")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    for kind in (*OURS.values(), SECRET):
        for one in fleet.api.list(kind):
            assert not one["metadata"].get("finalizers"), one["metadata"]


def test_credentials_are_only_where_they_belong(fleet: Fleet) -> None:
    fleet.account("a")
    key = fleet.key("secretive")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    told = str([fleet.api.list(kind) for kind in (*OURS.values(), k8s.EVENT)])
    logs = "".join(fleet.log(name) for name in ("operator", "auth", "router", "edge"))
    metrics = "".join(fleet.metrics(name) for name in ("operator", "auth", "router", "edge"))
    for secret in ("sim-key-a", key):
        assert secret not in told
        assert secret not in logs
        assert secret not in metrics
    of_auth = [fleet.api.secret(name) for name in secret_names(f"{fleet.release}-auth-catalog")]
    of_router = [fleet.api.secret(name) for name in secret_names(f"{fleet.release}-router-catalog")]
    assert not any(key.encode() in value for held in (*of_auth, *of_router) for value in (held or {}).values())


def test_a_changed_secret_rotates_the_credential(fleet: Fleet) -> None:
    fleet.account("a")
    key = fleet.key("rotating")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    fleet.await_answer(key, 200)
    pids = {name: process.pid for name, process in fleet.processes.items()}
    stream = Streaming(fleet, key, SLOW)
    fleet.credential("a", "sim-key-b")

    def rotated() -> bool:
        status = fleet.api.read(ACCOUNT, "a").expect()["status"]
        return bool(status.get("credentialHash") == digest("sim-key-b"))

    eventually("the new credential is in force", rotated, patience(30), seen=lambda: fleet.shown(ACCOUNT, "a"))
    fleet.await_condition(ACCOUNT, "a", "Programmed", "True")

    def served_anew() -> bool:
        fleet.simulator.forget()
        assert fleet.ask(key).status == 200
        return fleet.served_by() == ["b"]

    eventually("requests go out with the new credential", served_anew, patience(10), seen=fleet.served_by)
    assert stream.end().good, "a request that began on the old credential ends on it"
    assert pids == {name: process.pid for name, process in fleet.processes.items()}


def test_a_credential_that_is_refused_does_not_come_into_force(fleet: Fleet) -> None:
    fleet.account("a")
    key = fleet.key("careful")
    fleet.await_condition(ACCOUNT, "a", "Reachable", "True")
    fleet.await_answer(key, 200)
    fleet.credential("a", "a-key-that-nobody-knows")
    fleet.await_condition(ACCOUNT, "a", "Reachable", "False", "AuthRejected")
    fleet.await_event("a", "AuthRejected")
    assert fleet.api.read(ACCOUNT, "a").expect()["status"]["credentialHash"] == digest("sim-key-a")
    for _ in range(3):
        assert fleet.ask(key).status == 200
    fleet.credential("a", "sim-key-c")
    fleet.await_condition(ACCOUNT, "a", "Reachable", "True")
    assert fleet.api.read(ACCOUNT, "a").expect()["status"]["credentialHash"] == digest("sim-key-c")


def test_draining(fleet: Fleet) -> None:
    fleet.account("a")
    key = fleet.key("drained")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    fleet.await_answer(key, 200)
    stream = Streaming(fleet, key, SLOW)
    fleet.account("b", tier=1)
    fleet.apply(fleet.account_document("a", mode="Draining"))
    fleet.await_condition(ACCOUNT, "a", "Ready", "False", "Draining")
    fleet.await_condition(ACCOUNT, "b", "Ready", "True")
    fleet.await_condition(ACCOUNT, "a", "Programmed", "True")
    fleet.simulator.forget()
    for _ in range(5):
        assert fleet.ask(key).status == 200
    assert set(fleet.served_by()) <= {"b"}
    assert stream.end().good
    fleet.apply(fleet.account_document("a", mode="Active"))
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")


def test_a_deleted_account_takes_no_new_requests_and_ends_its_open_ones(fleet: Fleet) -> None:
    fleet.account("a")
    key = fleet.key("bereft")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    fleet.await_answer(key, 200)
    stream = Streaming(fleet, key, SLOW)
    began = time.monotonic()
    fleet.remove(ACCOUNT, "a")
    assert time.monotonic() - began < patience(10), "nothing holds up a deletion"

    def refused() -> bool:
        return fleet.ask(key).status >= 400

    eventually("no new request is taken", refused, patience(10))
    assert stream.end().good


def test_deleted_while_the_operator_is_down(fleet: Fleet) -> None:
    fleet.account("a")
    fleet.account("b", tier=1)
    key, doomed = fleet.key("lasting"), fleet.key("doomed")
    for name in "ab":
        fleet.await_condition(ACCOUNT, name, "Ready", "True")
    fleet.await_answer(doomed, 200)
    fleet.stop("operator")
    fleet.remove(ACCOUNT, "a")
    fleet.remove(API_KEY, "doomed")
    assert fleet.ask(key).status == 200, "requests do not notice"
    fleet.account("c", tier=0)
    fleet.start("operator")
    fleet.await_condition(ACCOUNT, "c", "Ready", "True")
    fleet.await_answer(doomed, 401)

    def moved() -> bool:
        fleet.simulator.forget()
        assert fleet.ask(key).status == 200
        return fleet.served_by() == ["c"]

    eventually("requests go to the account that came in the meantime", moved, patience(15), seen=fleet.served_by)


def test_an_operator_that_is_killed_again_and_again_gets_everything_done(fleet: Fleet) -> None:
    names = [f"many-{number}" for number in range(20)]
    key = fleet.key("steady")
    for number, name in enumerate(names):
        fleet.credential(name, f"sim-key-{'abcdefgh'[number % 8]}")
        spec = fleet.account_document(name)["spec"] | {
            "auth": {"apiKey": {"secretRef": {"name": name, "key": "api-key"}}}
        }
        fleet.apply(custom("UpstreamAccount", name, spec))
        if number % 5 == 4:
            fleet.restart("operator", kill=True)
            # Each time it dies at another point of its turn.
            time.sleep(0.4 * number / 5)
    fleet.restart("operator", kill=True)
    for name in names:
        fleet.await_condition(ACCOUNT, name, "Ready", "True", seconds=90)
    assert fleet.await_answer(key, 200).good


def test_a_settled_cluster_is_left_alone(fleet: Fleet) -> None:
    fleet.account("a")
    key = fleet.key("quiet")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    fleet.await_condition(API_KEY, "quiet", "Programmed", "True")
    fleet.await_answer(key, 200)

    def versions() -> dict[str, str]:
        return {
            f"{kind.plural}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for kind in (*OURS.values(), SECRET, k8s.EVENT)
            for one in fleet.api.list(kind)
        }

    held: list[Any] = [versions(), time.monotonic()]

    def quiet() -> bool:
        now = versions()
        if now != held[0]:
            held[:] = [now, time.monotonic()]
        return time.monotonic() - held[1] > 8

    eventually("nothing is written for eight seconds", quiet, patience(60), pause=0.5)
    before = held[0]
    fleet.restart("operator")
    fleet.await_ready("operator")
    held[:] = [versions(), time.monotonic()]
    eventually("nothing is written for eight seconds", quiet, patience(60), pause=0.5)
    assert held[0] == before, "a new operator that finds everything in order writes nothing"


def test_one_change_touches_few_secrets(fleet: Fleet) -> None:
    fleet.account("a")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    router, auth = (f"{fleet.release}-{one}-catalog" for one in ("router", "auth"))
    before = published(fleet.api, router), published(fleet.api, auth)
    fleet.apply(fleet.account_document("a", weight=50))
    fleet.await_condition(ACCOUNT, "a", "Programmed", "True")
    after = published(fleet.api, router), published(fleet.api, auth)
    assert {name for name in after[0] if after[0][name] != before[0][name]} >= {f"{router}-head"}
    assert sum(after[0][name] != before[0][name] for name in after[0]) == 2, "the account's shard and the head"
    assert after[1] == before[1], "auth has nothing to do with accounts"


def test_one_bad_resource_does_not_hold_up_the_others(fleet: Fleet) -> None:
    fleet.apply(fleet.account_document("d"))  # Its Secret is not there.
    fleet.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "e"}, "stringData": {"other": "x"}})
    fleet.apply(fleet.account_document("e"))
    fleet.apply(fleet.account_document("f", allowPrivateAddress="Deny", baseURL="https://127.0.0.1:1"))
    fleet.credential("f", "sim-key-f")
    fleet.apply(
        custom("APIKey", "lost", {"project": "p", "planRef": {"name": "no-such-plan"}, "secretName": "lost-key"})
    )
    fleet.account("a")
    key = fleet.key("unharmed")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    assert fleet.await_answer(key, 200).good
    missing = fleet.await_condition(ACCOUNT, "d", "ResolvedRefs", "False", "SecretNotFound")
    assert "d" in missing["message"]
    without = fleet.await_condition(ACCOUNT, "e", "ResolvedRefs", "False", "SecretKeyMissing")
    assert "api-key" in without["message"]
    for name in "def":
        fleet.await_condition(ACCOUNT, name, "Ready", "False")
    fleet.await_condition(API_KEY, "lost", "ResolvedRefs", "False", "PlanNotFound")
    # Each is mended by what it lacks alone.
    fleet.credential("d", "sim-key-d")
    fleet.await_condition(ACCOUNT, "d", "Ready", "True")
    fleet.plan("no-such-plan")
    fleet.await_condition(API_KEY, "lost", "Ready", "True")
    fleet.remove(PLAN, "no-such-plan")
    fleet.await_condition(API_KEY, "lost", "ResolvedRefs", "False", "PlanNotFound")


def test_a_rest_is_told_with_its_end(fleet: Fleet) -> None:
    fleet.account("a")
    key = fleet.key("patient")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    fleet.await_answer(key, 200)
    fleet.simulator.faults("a", {"operation": "messages", "set": {"fault": "429", "retry_after": "10"}})
    assert fleet.ask(key).status == 429

    def rests() -> list[Json]:
        return fleet.api.read(ACCOUNT, "a").expect()["status"].get("cooldowns") or []

    (rest,) = eventually("a rest is told", rests, patience(20), seen=lambda: fleet.shown(ACCOUNT, "a"))
    assert rest["model"] == MODEL_NAME
    assert rest["reason"]
    assert rest["until"].startswith("20")
    # Its other models are served meanwhile, so it is ready.
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    fleet.simulator.clear()

    def back() -> bool:
        fleet.ask(key)  # What rests comes back with a real request.
        return not rests()

    eventually("no rest is told any more", back, patience(60), pause=0.5, seen=rests)


def test_an_account_that_is_out_altogether(fleet: Fleet) -> None:
    fleet.account("a")
    key = fleet.key("unpaid")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    fleet.await_answer(key, 200)
    fleet.simulator.faults("a", {"operation": "messages", "set": {"fault": "402"}})
    assert fleet.ask(key).status >= 400
    fleet.await_condition(ACCOUNT, "a", "Ready", "False", "QuotaExhausted")
    fleet.await_event("a", "QuotaExhausted")
    # A new credential is another chance, at once; a real request says whether it is a good one.
    fleet.simulator.clear()
    fleet.credential("a", "sim-key-b")
    assert fleet.await_answer(key, 200, seconds=30).good
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")


def test_models(fleet: Fleet) -> None:
    price = {"effectiveTime": "2026-01-01T00:00:00Z", "inputPerMillionTokens": "1", "outputPerMillionTokens": "2"}
    spec = {
        "aliases": ["house-blend"],
        "ownedBy": "anthropic",
        "contextTokens": 200_000,
        "maxOutputTokens": 8_000,
        "upstreamNames": [{"provider": "Anthropic", "name": MODEL_NAME}],
        "prices": [price],
    }
    fleet.apply(custom("Model", MODEL_NAME, spec))
    fleet.await_condition(MODEL, MODEL_NAME, "Ready", "False", "NoReadyAccount")
    fleet.account("a")
    fleet.account("b", mode="Disabled")
    key = fleet.key("modelled")
    fleet.await_condition(MODEL, MODEL_NAME, "Ready", "True")
    assert set(fleet.conditions(MODEL, MODEL_NAME)) >= CONDITIONS["Model"]
    status = fleet.api.read(MODEL, MODEL_NAME).expect()["status"]
    assert status["readyAccounts"] == 1
    assert status["totalAccounts"] == 2
    assert fleet.await_answer(key, 200, model="house-blend").good
    # The name is taken: the younger one stands back.
    fleet.apply(custom("Model", "claude-younger", spec))
    conflict = fleet.await_condition(MODEL, "claude-younger", "Accepted", "False", "NameConflict")
    assert "house-blend" in conflict["message"] or MODEL_NAME in conflict["message"]
    fleet.await_condition(MODEL, MODEL_NAME, "Ready", "True")


def test_conditions_keep_their_time_until_they_flip(fleet: Fleet) -> None:
    fleet.account("a")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    before = fleet.conditions(ACCOUNT, "a")
    eventually("a second has passed", lambda: True, pause=0)
    time.sleep(1.1)
    fleet.apply(fleet.account_document("a", weight=7))
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    after = fleet.conditions(ACCOUNT, "a")
    for aspect in ("Accepted", "ResolvedRefs", "Reachable"):
        assert after[aspect]["lastTransitionTime"] == before[aspect]["lastTransitionTime"], aspect
        assert after[aspect]["observedGeneration"] == before[aspect]["observedGeneration"] + 1


def test_a_hundred_accounts(fleet: Fleet) -> None:
    fleet.credential("shared", "sim-key-a")
    auth = {"apiKey": {"secretRef": {"name": "shared", "key": "api-key"}}}
    for number in range(100):
        fleet.apply(fleet.account_document(f"bulk-{number:03}", auth=auth))

    def unready() -> list[str]:
        return [
            one["metadata"]["name"]
            for one in fleet.api.list(ACCOUNT)
            if not any(
                (row["type"], row["status"]) == ("Programmed", "True")
                for row in (one.get("status") or {}).get("conditions") or ()
            )
        ]

    eventually("all are programmed", lambda: not unready(), patience(90), pause=0.5, seen=lambda: unready()[:5])
    fleet.key("busy")
    began = time.monotonic()
    fleet.apply(fleet.account_document("bulk-050", auth=auth, weight=1))
    fleet.await_condition(ACCOUNT, "bulk-050", "Programmed", "True", seconds=20)
    assert time.monotonic() - began < patience(10)


def test_certificates_are_issued_and_a_lost_one_comes_back(fleet: Fleet) -> None:
    for component in ("edge", "auth", "router", "status"):
        found = fleet.api.read(SECRET, f"{fleet.release}-{component}-tls").expect()
        assert found["type"] == "kubernetes.io/tls"
    name = f"{fleet.release}-edge-tls"
    before = fleet.api.secret(name)
    fleet.api.delete(SECRET, name).expect()
    after = eventually("it is issued anew", lambda: fleet.api.secret(name), patience(30))
    assert after["tls.crt"] != before["tls.crt"]
    assert after["ca.crt"] == before["ca.crt"]
    fleet.mount("edge")
    assert b"BEGIN CERTIFICATE" in after["tls.crt"]
    admin = fleet.api.secret(f"{fleet.release}-admin")
    assert admin is not None
    assert len(admin["token"]) >= 32


def test_requests_do_not_notice_that_the_api_server_restarts(fleet: Fleet, restart_command: list[str]) -> None:
    fleet.account("a")
    key = fleet.key("unaware")
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")
    fleet.await_answer(key, 200)
    stream = Streaming(fleet, key, "chunks=100 pace=100ms tokens=300")
    import subprocess

    restarting = subprocess.Popen(restart_command)
    try:
        answers = []
        while restarting.poll() is None:
            answers.append(fleet.ask(key).status)
            time.sleep(0.2)
    finally:
        assert restarting.wait(patience(180)) == 0
    assert answers
    assert set(answers) == {200}
    assert stream.end().good
    eventually("the API server answers", lambda: fleet.api.request("GET", "/readyz").good, patience(60))
    for name, process in fleet.processes.items():
        assert process.poll() is None, f"{name}: {fleet.log(name)[-2000:]}"
    fleet.await_ready("operator")
    # Watches that broke are there again: what is listed now and then would take longer.
    time.sleep(patience(3))
    began = time.monotonic()
    fleet.apply(fleet.account_document("a", weight=7))
    fleet.await_condition(ACCOUNT, "a", "Programmed", "True")
    assert time.monotonic() - began < patience(10)
    fleet.account("b", tier=0)
    fleet.apply(fleet.account_document("a", mode="Draining"))
    fleet.await_condition(ACCOUNT, "b", "Ready", "True")
    fleet.await_condition(ACCOUNT, "a", "Ready", "False", "Draining")

    def moved() -> bool:
        fleet.simulator.forget()
        assert fleet.ask(key).status == 200
        return fleet.served_by() == ["b"]

    eventually("what changed since is in force", moved, patience(20), seen=fleet.served_by)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
