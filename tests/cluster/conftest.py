"""The cluster that KUBECONFIG names, a namespace for each test, and whether pods can run there.

- `PENSTOCK_TEST_IMAGE`, `PENSTOCK_TEST_PULL_POLICY` (IfNotPresent): the image for what needs pods.
- `PENSTOCK_TEST_APISERVER_RESTART`: a command that restarts the API server.
- `PENSTOCK_TEST_INGRESS_URL`, `PENSTOCK_TEST_INGRESS_CLASS` : where an ingress controller listens, seen from here.
- `PENSTOCK_TEST_PATIENCE` (1): a factor for every deadline, for slow clusters.
- `PENSTOCK_TEST_KEEP`: leave the namespaces as they are.
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chart.custom_resources import CRDS
from tests.cluster import kubernetes as k8s
from tests.cluster.kubernetes import Kubernetes, eventually

HERE = Path(__file__).parent
CLUSTER = os.environ.get("KUBECONFIG", "")
WITHOUT = "test_no_cluster.py"
"""What stands in for everything here when there is no cluster."""

collect_ignore = [path.name for path in HERE.glob("test_*.py") if (path.name == WITHOUT) == bool(CLUSTER)]

MADE_BY_US = {"app.kubernetes.io/managed-by": "penstock-cluster-tests"}


@dataclass(frozen=True)
class Pods:
    """What is needed to run pods of ours."""

    image: str
    pull_policy: str

    @property
    def values(self) -> list[str]:
        """The same for `helm --set`."""
        repository, colon, tag = self.image.rpartition(":")
        assert colon and "/" not in tag and "@" not in self.image, f"PENSTOCK_TEST_IMAGE={self.image}: name a tag"
        return [f"image.repository={repository}", f"image.tag={tag}", f"image.pullPolicy={self.pull_policy}"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Kubernetes]:
    """The API as the kubeconfig's user."""
    found = Kubernetes(Path(CLUSTER).expanduser())
    try:
        version = found.request("GET", "/version")
    except httpx.TransportError as error:
        pytest.exit(f"KUBECONFIG={CLUSTER}: no answer from {found.access.server}: {error}", 2)
    if not version.good:
        pytest.exit(f"KUBECONFIG={CLUSTER}: {found.access.server} says {version.status}: {version.body}", 2)
    yield found
    found.close()


@pytest.fixture(scope="session")
def version(cluster: Kubernetes) -> tuple[int, int]:
    """Which Kubernetes this is."""
    said = cluster.request("GET", "/version").expect()
    return int(said["major"]), int("".join(filter(str.isdigit, said["minor"])))


@pytest.fixture(scope="session")
def definitions(cluster: Kubernetes) -> Iterator[bool]:
    """The resource definitions are there; tells whether we put them there, and then takes them away again."""
    missing = [crd for crd in CRDS.values() if cluster.get(k8s.CRD, crd["metadata"]["name"]) is None]
    for crd in CRDS.values():
        name = crd["metadata"]["name"]
        if crd in missing:
            # Somebody else's tests may have been quicker.
            cluster.create({**crd, "metadata": crd["metadata"] | {"labels": MADE_BY_US}}).expect(201, 409)
        else:
            planned = cluster.apply(crd, dryRun="All").expect()
            there = cluster.read(k8s.CRD, name).expect()
            if planned["spec"] != there["spec"]:
                pytest.exit(f"this cluster has another version of {name}: apply charts/penstock/files/crds first", 2)
    for crd in CRDS.values():
        await_definition(cluster, crd["metadata"]["name"])
    ours = len(missing) == len(CRDS)
    yield ours
    if missing and not os.environ.get("PENSTOCK_TEST_KEEP"):
        if used := resources_anywhere(cluster):
            print(
                f"the resource definitions stay, because there are resources in use: {used[:3]}"
            )  # With -s, or on failure.
            return
        for crd in missing:
            cluster.delete(k8s.CRD, crd["metadata"]["name"])


def resources_anywhere(cluster: Kubernetes) -> list[str]:
    """Resources of ours in any namespace but those that are going: a definition that goes takes all of them along."""
    going = {one["metadata"]["name"] for one in cluster.list(k8s.NAMESPACE) if one["metadata"].get("deletionTimestamp")}
    answers = {
        kind.plural: cluster.request("GET", f"/apis/{kind.group_version}/{kind.plural}") for kind in k8s.OURS.values()
    }
    return [
        f"{plural}/{one['metadata']['namespace']}/{one['metadata']['name']}"
        for plural, answer in answers.items()
        for one in (answer.body["items"] if answer.good else ())
        if one["metadata"]["namespace"] not in going
    ]


def await_definition(cluster: Kubernetes, name: str) -> None:
    """Wait until a definition is served."""

    def established() -> bool:
        found = cluster.get(k8s.CRD, name) or {}
        conditions = {one["type"]: one["status"] for one in (found.get("status") or {}).get("conditions") or ()}
        return conditions.get("Established") == conditions.get("NamesAccepted") == "True"

    eventually(f"{name} is established", established, patience(30), seen=lambda: cluster.get(k8s.CRD, name))
    group, kind = next((crd["spec"]["group"], kind) for kind, crd in CRDS.items() if crd["metadata"]["name"] == name)
    # Discovery follows a moment later.
    eventually(f"{kind} is discovered", lambda: cluster.knows(f"{group}/v1alpha1", kind), patience(30))
    path = k8s.OURS[kind].path("default")
    eventually(f"{kind} is served", lambda: cluster.request("GET", path).good, patience(30))


def patience(seconds: float) -> float:
    """A deadline, as patient as was asked for."""
    return seconds * float(os.environ.get("PENSTOCK_TEST_PATIENCE", "1"))


@contextmanager
def namespace_of(cluster: Kubernetes, purpose: str) -> Iterator[Kubernetes]:
    """A namespace of our own, in which only pods of the `restricted` kind are let in; gone afterwards."""
    name = f"penstock-test-{purpose}-{secrets.token_hex(3)}"
    labels = MADE_BY_US | {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}).expect()
    inside = cluster.within(name)
    try:
        _await_default_account(inside)
        yield inside
    finally:
        if not os.environ.get("PENSTOCK_TEST_KEEP"):
            empty(inside)
        inside.close()


def _await_default_account(inside: Kubernetes) -> None:
    """Pods need one. A bare API server has nobody who makes it, so after a while we do."""
    try:
        eventually("there is a default ServiceAccount", lambda: inside.get(k8s.SERVICE_ACCOUNT, "default"), patience(5))
    except AssertionError:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        inside.apply(account).expect()


def empty(inside: Kubernetes) -> None:
    """Delete our resources, then the namespace with all that is in it. No error here hides a test's."""
    for kind in k8s.OURS.values():
        inside.request("DELETE", kind.path(inside.namespace))
    inside.delete(k8s.NAMESPACE, inside.namespace, propagationPolicy="Background")


@pytest.fixture
def namespace(cluster: Kubernetes, request: pytest.FixtureRequest) -> Iterator[Kubernetes]:
    """A namespace for one test."""
    with namespace_of(cluster, _short(request.node.name)) as inside:
        yield inside


@pytest.fixture(scope="module")
def shared_namespace(cluster: Kubernetes, request: pytest.FixtureRequest) -> Iterator[Kubernetes]:
    """A namespace for all tests of a module."""
    with namespace_of(cluster, _short(request.node.name.rpartition("/")[2].removesuffix(".py"))) as inside:
        yield inside


def _short(name: str) -> str:
    letters = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in name.removeprefix("test_").lower()
    )
    return letters[:20].strip("-") or "case"


@pytest.fixture(scope="session")
def pods(cluster: Kubernetes) -> Pods:
    """What to run pods with; skips where that cannot be."""
    ready = [
        node["metadata"]["name"]
        for node in cluster.list(k8s.NODE)
        for condition in (node.get("status") or {}).get("conditions") or ()
        if (condition["type"], condition["status"]) == ("Ready", "True") and not node["spec"].get("unschedulable")
    ]
    if not ready:
        pytest.skip("no node of this cluster is ready: what needs pods is not tested")
    image = os.environ.get("PENSTOCK_TEST_IMAGE", "")
    if not image:
        pytest.skip("PENSTOCK_TEST_IMAGE is not set: what needs pods is not tested")
    return Pods(image, os.environ.get("PENSTOCK_TEST_PULL_POLICY") or "IfNotPresent")


@pytest.fixture(scope="session")
def garbage_collector(cluster: Kubernetes) -> None:
    """Skips where no controller manager holds its lease, so that what an object owned outlives it."""
    lease = f"{k8s.LEASE.path('kube-system')}/kube-controller-manager"
    if not cluster.request("GET", lease).good:
        pytest.skip("no controller manager runs beside this API server: nothing removes what a deleted object owned")


@pytest.fixture
def cleanup() -> Iterator[Callable[..., None]]:
    """Register what is to be done at the end, in reverse order."""
    with ExitStack() as stack:
        yield stack.callback


@pytest.fixture(scope="session")
def restart_command() -> list[str]:
    """The command that restarts the API server; skips without it."""
    text = os.environ.get("PENSTOCK_TEST_APISERVER_RESTART", "")
    if not text:
        pytest.skip("PENSTOCK_TEST_APISERVER_RESTART is not set: nothing here can restart the API server")
    return shlex.split(text)


Json = Any
