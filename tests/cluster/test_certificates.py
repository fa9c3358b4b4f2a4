"""Certificates on a real API server: an authority is exchanged, and lost, while requests go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.conftest import namespace_of, patience
from tests.cluster.fleet import Fleet, running
from tests.cluster.kubernetes import ACCOUNT, SECRET, Kubernetes, eventually

pytestmark = pytest.mark.usefixtures("definitions")

Json = Any
MOUNTING = ("edge", "router", "auth")


@pytest.fixture(scope="module")
def fleet(cluster: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with namespace_of(cluster, "tls") as inside, running(inside, tmp_path_factory.mktemp("tls")) as fleet:
        fleet.account("a")
        fleet.await_condition(ACCOUNT, "a", "Ready", "True")
        yield fleet


@contextmanager
def kubelets(fleet: Fleet) -> Iterator[None]:
    """Bring changed Secrets to the processes, one after the other."""
    stop = threading.Event()

    def mount() -> None:
        while not stop.wait(0.5):
            for component in MOUNTING:
                fleet.mount(component)

    thread = threading.Thread(target=mount)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def taken(fleet: Fleet, name: str) -> float:
    """How many times a process has taken new certificate files into use."""
    lines = fleet.metrics(name).splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith('penstock_tls_readings_total{result="taken"}')
    )


def ca(fleet: Fleet) -> dict[str, bytes]:
    return fleet.api.secret(f"{fleet.release}-ca") or {}


def bundle(fleet: Fleet) -> bytes:
    return (fleet.api.secret(f"{fleet.release}-edge-tls") or {}).get("ca.crt", b"")


def answers_until(fleet: Fleet, key: str, what: str, true: Callable[[], bool]) -> list[int]:
    """Send requests until this is so."""
    answers: list[int] = []

    def ask_and_look() -> bool:
        answers.extend(fleet.ask(key).status for _ in range(5))
        return true()

    eventually(what, ask_and_look, patience(90), seen=fleet.tail_of("operator"))
    return answers


def exchanged_under_requests(fleet: Fleet, name: str, set_off: Callable[[], Json]) -> None:
    before, old = {one: taken(fleet, one) for one in MOUNTING}, ca(fleet)["tls.crt"]
    key = fleet.key(name)
    fleet.await_answer(key, 200)
    with kubelets(fleet):
        set_off()
        answers = answers_until(fleet, key, "both are believed", lambda: old in bundle(fleet) != old)
        answers += answers_until(fleet, key, "the new one alone is believed", lambda: old not in bundle(fleet))
        eventually(
            "it has reached everybody", lambda: all(taken(fleet, one) >= before[one] + 3 for one in MOUNTING), 30
        )
        # Keys that nobody knows yet make edges call, and changes make routers and auths answer.
        late = fleet.key(f"{name}-after")
        answers += [fleet.ask(late).status for _ in range(5)]
    assert set(answers) == {200}
    assert set(ca(fleet)) == {"tls.crt", "tls.key"}
    assert {"AuthorityMade", "AuthorityExchanged"} <= {event["reason"] for event in fleet.events(f"{fleet.release}-ca")}
    fleet.await_condition(ACCOUNT, "a", "Ready", "True")


def test_requests_do_not_notice_that_the_authority_is_exchanged(fleet: Fleet) -> None:
    asked = {"metadata": {"annotations": {"penstock.dev/rotate": f"at {time.time()}"}}}
    exchanged_under_requests(fleet, "unaware", lambda: fleet.api.patch(SECRET, f"{fleet.release}-ca", asked).expect())


def test_requests_do_not_notice_that_the_authority_is_lost(fleet: Fleet) -> None:
    exchanged_under_requests(fleet, "bereft", lambda: fleet.api.delete(SECRET, f"{fleet.release}-ca").expect())


def test_a_secret_that_somebody_else_made_is_left_and_told_of(fleet: Fleet) -> None:
    name = f"{fleet.release}-status-tls"
    fleet.api.delete(SECRET, name).expect()
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"mine": "yes"}}

    def put() -> bool:
        return bool(fleet.api.create(theirs).good)

    # The operator may have been faster: then once more.
    eventually("theirs is there", lambda: put() or (fleet.api.delete(SECRET, name).good and put()), patience(30))
    fleet.await_event(name, "SecretNotOurs")
    assert fleet.api.secret(name) == {"mine": b"yes"}
    fleet.api.delete(SECRET, name).expect()
    eventually("it is issued again", lambda: "tls.crt" in (fleet.api.secret(name) or {}), patience(60))


def test_a_secret_of_another_type_is_made_anew_when_it_is_ours(fleet: Fleet) -> None:
    name = f"{fleet.release}-status-tls"
    marks = fleet.api.read(SECRET, name).expect()["metadata"]["labels"]
    fleet.api.delete(SECRET, name).expect()
    eventually("it is issued again", lambda: fleet.api.secret(name), patience(60))
    fleet.api.patch(SECRET, name, {"immutable": True, "data": {"tls.crt": ""}}).expect()
    eventually("it is whole again", lambda: (fleet.api.secret(name) or {}).get("tls.crt"), patience(60))
    found = fleet.api.read(SECRET, name).expect()
    assert found["type"] == "kubernetes.io/tls"
    assert found["metadata"]["labels"] == marks
    assert not found.get("immutable")
