"""Upgrades and rollbacks over what cannot be changed, and over what others have changed. No pod need run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.kubernetes import Kubernetes
from tests.cluster.release import Helm, of_kinds

pytestmark = pytest.mark.usefixtures("definitions")

STORES = ["database.existingSecret=postgres", "redis.existingSecret=redis"]


@pytest.fixture
def helm(namespace: Kubernetes) -> Iterator[Helm]:
    """helm in a namespace of its own; what was installed is uninstalled."""
    found = Helm(namespace, ["crds.enabled=false", "image.repository=nowhere.invalid/penstock"])
    yield found
    found.uninstall("--no-hooks", good=False)


def scaled(helm: Helm, to: int | None = None) -> int:
    """The edges' number in force, after somebody has set it."""
    kind, name = helm.cluster.kind("apps/v1", "StatefulSet"), f"{helm.fullname}-edge"
    if to is not None:
        helm.cluster.patch(kind, name, {"spec": {"replicas": to}}).expect()
    return int(helm.cluster.read(kind, name).expect()["spec"]["replicas"])


def test_switching_autoscaling_on_keeps_the_number_of_edges(helm: Helm) -> None:
    """Leaving `replicas` out would mean one edge until the autoscaler looks, and the streams of all others cut short."""
    helm.install()
    scaled(helm, 5)
    helm.upgrade("edge.autoscaling.enabled=true")
    # An autoscaler that runs here has its own bounds; none of them is 1.
    assert scaled(helm) == 5
    scaled(helm, 7)
    helm.upgrade("edge.autoscaling.enabled=true", "edge.longestStreamSeconds=60")
    assert scaled(helm) == 7
    helm.upgrade("edge.replicaCount=3")
    assert scaled(helm) == 3


def test_other_sizes_of_the_edges_volumes_fail_no_upgrade(helm: Helm) -> None:
    """A StatefulSet refuses another size, in the middle of an upgrade; what is in force stays, and the notes say so."""
    helm.install()
    told = helm.upgrade("edge.persistence.size=5Gi", "edge.persistence.storageClass=other").stdout
    assert "edge.persistence.size is 5Gi, and the edges' volumes go on having 2Gi" in told
    (edges,) = of_kinds(helm.manifest(), "StatefulSet")
    (claim,) = edges["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert "go on having" not in helm.upgrade().stdout


def test_back_from_postgresql_to_the_volume(helm: Helm) -> None:
    """The volume with the old ledger stays part of the release: Helm could not roll back to it otherwise."""
    helm.install()
    volume = helm.cluster.kind("v1", "PersistentVolumeClaim"), f"{helm.fullname}-auth-ledger"
    first = helm.cluster.read(*volume).expect()["metadata"]["uid"]
    helm.upgrade(*STORES, "auth.replicaCount=2", "router.replicaCount=2")
    helm.upgrade(*STORES)
    helm.rollback(1, "--no-hooks")
    assert helm.cluster.read(*volume).expect()["metadata"]["uid"] == first
    # The class cannot be changed either, whether it was asked for or the cluster's own.
    helm.upgrade("auth.persistence.storageClass=other")
    helm.upgrade("auth.persistence.enabled=false")
    helm.rollback(1, "--no-hooks")
    assert helm.cluster.read(*volume).expect()["metadata"]["uid"] == first
    helm.uninstall("--no-hooks")
    assert helm.cluster.read(*volume).good
    # And a release of the same name takes it up again.
    helm.install()
    assert helm.cluster.read(*volume).expect()["metadata"]["uid"] == first
