"""The chart as objects: taken strictly by the API server, upgraded, rolled back and uninstalled. No pod need run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chart.custom_resources import CRDS
from tests.cluster import kubernetes as k8s
from tests.cluster.conftest import MADE_BY_US, await_definition, namespace_of, patience, resources_anywhere
from tests.cluster.fleet import custom
from tests.cluster.kubernetes import Kubernetes, eventually
from tests.cluster.release import CHART, ROOT, Helm, documents, of_kinds, supported

pytestmark = pytest.mark.usefixtures("definitions")

Json = Any
VALUES = sorted((CHART / "ci").glob("*-values.yaml")) + sorted(
    (ROOT / "deploy" / "environments").glob("**/*values*.yaml")
)
WITHOUT_DEFINITIONS = "crds.enabled=false"
NAMES = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "Service": "v1", "PodDisruptionBudget": "policy/v1"}


@pytest.fixture
def helm(namespace: Kubernetes) -> Iterator[Helm]:
    """helm in a namespace of its own; what was installed is uninstalled."""
    found = Helm(namespace, [WITHOUT_DEFINITIONS, "image.repository=nowhere.invalid/penstock"])
    yield found
    found.uninstall("--no-hooks", good=False)


def key_of(document: Json) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


@pytest.mark.parametrize("values", [None, *VALUES], ids=lambda path: path.stem if path else "defaults")
def test_every_profile_is_taken_strictly_and_without_warnings(namespace: Kubernetes, values: Path | None) -> None:
    helm = Helm(namespace)
    rendered = helm.template(WITHOUT_DEFINITIONS, files=[values] if values else [])
    assert rendered
    complaints, unknown = [], []
    for document in rendered:
        if not supported(namespace, document):
            unknown.append(key_of(document))
            continue
        answer = namespace.apply(document, dryRun="All")
        if not answer.good or answer.warnings:
            complaints.append((key_of(document), answer.status, answer.faults, answer.warnings))
    assert not complaints, complaints
    assert len(unknown) < len(rendered), unknown
    # Only kinds that others define may be unknown to a cluster.
    owned = [
        one for one in unknown if one.partition("/")[0] in {*NAMES, "Role", "RoleBinding", "NetworkPolicy", "Secret"}
    ]
    assert not owned


def test_pods_of_every_workload_pass_pod_security(helm: Helm) -> None:
    """A workload is taken with a warning at most; what counts is whether its pods are let in."""
    for workload in of_kinds(helm.template("simulator.enabled=true"), "Deployment", "StatefulSet"):
        template = workload["spec"]["template"]
        name = f"{workload['metadata']['name']}-probe"
        claimed = [
            {"name": claim["metadata"]["name"], "emptyDir": {}}
            for claim in workload["spec"].get("volumeClaimTemplates", ())
        ]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": template["metadata"] | {"name": name},
            "spec": template["spec"]
            | {"serviceAccountName": "default", "volumes": [*template["spec"]["volumes"], *claimed]},
        }
        answer = helm.cluster.create(pod, dryRun="All")
        assert answer.good, (name, answer.faults)
        assert not answer.warnings, (name, answer.warnings)


def test_install_upgrade_rollback_uninstall(helm: Helm) -> None:
    inside = helm.cluster
    helm.install("simulator.enabled=true")
    assert helm.status()["info"]["status"] == "deployed"
    first = {key_of(one): one for one in helm.manifest()}
    assert {kind.partition("/")[0] for kind in first} >= {
        "Deployment",
        "Service",
        "ServiceAccount",
        "Role",
        "RoleBinding",
    }
    for document in first.values():
        live = inside.read(inside.kind(document["apiVersion"], document["kind"]), document["metadata"]["name"])
        assert live.good, (key_of(document), live.body)

    helm.upgrade("edge.replicaCount=4", "edge.longestStreamSeconds=60", "simulator.enabled=false")
    edge = edges(helm)
    assert edge["spec"]["replicas"] == 4
    assert edge["metadata"]["generation"] > 1
    second = {key_of(one) for one in helm.manifest()}
    gone = first.keys() - second
    assert any("simulator" in key for key in gone)
    for key in gone:
        document = first[key]
        kind = inside.kind(document["apiVersion"], document["kind"])
        eventually(
            f"{key} is gone",
            lambda kind=kind, document=document: inside.get(kind, document["metadata"]["name"]) is None,
            patience(30),
        )

    helm.rollback(1, "--no-hooks")
    assert edges(helm)["spec"]["replicas"] == first[key_of(edges(helm))]["spec"]["replicas"]
    assert {key_of(one) for one in helm.manifest()} == first.keys()

    helm.uninstall("--no-hooks")
    kept = {
        key
        for key, one in first.items()
        if (one["metadata"].get("annotations") or {}).get("helm.sh/resource-policy") == "keep"
    }

    def left() -> set[str]:
        return {
            key
            for key, one in first.items()
            if inside.get(inside.kind(one["apiVersion"], one["kind"]), one["metadata"]["name"]) is not None
        } - kept

    eventually("the release is gone", lambda: not left(), patience(60), seen=left)
    for key in kept:
        assert key.startswith("PersistentVolumeClaim/"), "books outlive a release; nothing else does"


def edges(helm: Helm) -> Json:
    (workload,) = [
        one
        for one in of_kinds(helm.manifest(), "Deployment", "StatefulSet")
        if one["metadata"]["name"] == f"{helm.fullname}-edge"
    ]
    return helm.cluster.read(helm.cluster.kind("apps/v1", workload["kind"]), workload["metadata"]["name"]).expect()


def test_an_upgrade_that_changes_nothing_changes_nothing(helm: Helm) -> None:
    """Nothing random, no time: GitOps tools would otherwise see drift for ever."""
    helm.install()
    first = {key_of(one): one for one in helm.manifest()}
    versions = {key: live(helm, one)["metadata"].get("generation") for key, one in first.items()}
    helm.upgrade()
    assert {key_of(one): one for one in helm.manifest()} == first
    assert {key: live(helm, one)["metadata"].get("generation") for key, one in first.items()} == versions


def live(helm: Helm, document: Json) -> Json:
    kind = helm.cluster.kind(document["apiVersion"], document["kind"])
    return helm.cluster.read(kind, document["metadata"]["name"]).expect()


def test_from_one_edge_kind_to_another_and_from_every_profile_to_the_next(helm: Helm) -> None:
    """What cannot be changed in place must not have to be."""
    helm.install()
    for settings in (["edge.persistence.enabled=false"], ["auth.persistence.enabled=false"], ["tls.mode=Off"], []):
        helm.upgrade(*settings)
        edges(helm)


def test_values_that_cannot_be_are_refused_before_anything_is_made(helm: Helm) -> None:
    refused = helm.install("router.replicaCount=3", good=False)
    assert refused.returncode != 0
    assert "router" in refused.stderr
    assert "edges" in helm.install("edges.replicaCount=3", good=False).stderr
    made = helm.cluster.list(k8s.SERVICE_ACCOUNT)
    assert not [one for one in made if one["metadata"]["name"].startswith(helm.fullname)]


def test_an_uninstalled_release_leaves_resources_that_can_be_deleted(helm: Helm) -> None:
    inside = helm.cluster
    helm.install()
    inside.create(custom("Plan", "kept", {})).expect()
    inside.create(
        custom("APIKey", "kept", {"project": "p", "planRef": {"name": "kept"}, "secretName": "kept"})
    ).expect()
    helm.uninstall("--no-hooks")
    for kind, name in ((k8s.PLAN, "kept"), (k8s.API_KEY, "kept")):
        assert inside.get(kind, name) is not None
        inside.delete(kind, name).expect()
        eventually(f"{name} is gone at once", lambda kind=kind, name=name: inside.get(kind, name) is None, patience(10))


def test_two_releases_in_one_cluster(cluster: Kubernetes) -> None:
    with namespace_of(cluster, "first") as one, namespace_of(cluster, "second") as two:
        for inside in (one, two):
            helm = Helm(inside, [WITHOUT_DEFINITIONS])
            helm.install()
        for inside in (one, two):
            Helm(inside).uninstall("--no-hooks")


def test_helm_brings_the_definitions_keeps_them_and_takes_them_back(cluster: Kubernetes, definitions: bool) -> None:
    if not definitions:
        pytest.skip(
            "the resource definitions were here before these tests: they are not taken away to install them anew"
        )
    if used := resources_anywhere(cluster):
        pytest.skip(f"somebody uses the resource definitions: {used[:3]}")
    names = [crd["metadata"]["name"] for crd in CRDS.values()]
    remove_definitions(cluster, names)
    try:
        with namespace_of(cluster, "definitions") as inside:
            helm = Helm(inside)
            helm.install()
            for name in names:
                await_definition(cluster, name)
                found = cluster.read(k8s.CRD, name).expect()
                assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
                assert found["spec"]["names"] == CRDS[found["spec"]["names"]["kind"]]["spec"]["names"] | {
                    "listKind": found["spec"]["names"]["listKind"]
                }
            inside.create(custom("Plan", "kept", {})).expect()
            helm.uninstall("--no-hooks")
            assert inside.get(k8s.PLAN, "kept") is not None, "an uninstalled release leaves what people wrote"
            helm.install()
            helm.upgrade("crds.keep=false")
            helm.uninstall("--no-hooks")
            eventually(
                "the definitions go when they are not kept",
                lambda: cluster.get(k8s.CRD, names[0]) is None,
                patience(60),
            )
    finally:
        remove_definitions(cluster, names)
        for crd in CRDS.values():
            cluster.create({**crd, "metadata": crd["metadata"] | {"labels": MADE_BY_US}}).expect()
            await_definition(cluster, crd["metadata"]["name"])


def remove_definitions(cluster: Kubernetes, names: list[str]) -> None:
    for name in names:
        cluster.delete(k8s.CRD, name)
    for name in names:
        eventually(f"{name} is gone", lambda name=name: cluster.get(k8s.CRD, name) is None, patience(60))


def test_the_plain_files_do_what_helm_does(cluster: Kubernetes) -> None:
    """`kubectl apply -f` of the files, for those who keep definitions apart from releases."""
    for path in sorted((CHART / "files" / "crds").glob("*.yaml")):
        (crd,) = documents(path.read_text())
        cluster.apply(crd, dryRun="All").expect()
