"""The chart as Helm and Kubernetes see it, for every case of ci/, on the oldest and the newest version."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import lru_cache

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils as schemas

from tests.chart.custom_resources import CRDS, DEFINITIONS
from tests.chart.rendering import (
    CASES,
    CHART,
    NAMESPACE,
    RELEASE,
    VERSIONS,
    case_file,
    component,
    helm,
    named,
    of_kind,
    pods,
    rendered,
    template,
    workload,
)

pytestmark = pytest.mark.xdist_group("chart")  # one process renders everything, once

# Kinds that Kubernetes does not have itself; what is in them is their own definitions' affair.
FOREIGN = {
    "cert-manager.io/v1": {"Certificate", "Issuer"},
    "gateway.networking.k8s.io/v1": {"HTTPRoute"},
    "keda.sh/v1alpha1": {"ScaledObject"},
    "monitoring.coreos.com/v1": {"PrometheusRule", "ServiceMonitor"},
}


@pytest.fixture(scope="module", autouse=True)
def _read_schemas_once():
    # The validator reads megabytes of JSON for every object otherwise.
    before = schemas.schema_contents
    schemas.schema_contents = lru_cache(maxsize=None)(before)
    yield
    schemas.schema_contents = before


def test_the_linter_has_nothing_to_say():
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda case: helm("lint", "--strict", "--values", case_file(case), str(CHART)), CASES)
        for case, result in zip(CASES, results, strict=True):
            assert result.returncode == 0, f"{case}: {result.stdout}{result.stderr}"
            assert "[WARNING]" not in result.stdout, f"{case}: {result.stdout}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_every_object(case, version):
    for one in rendered(case, version):
        if one["kind"] in FOREIGN.get(one["apiVersion"], ()):
            continue
        try:
            assert kubernetes_validate.validate(one, version, strict=True) == version
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(step) for step in error.path)
            pytest.fail(f"{one['kind']} {one['metadata']['name']}: {where}: {error.message}")


def test_the_validator_would_find_a_mistake():
    wrong = deepcopy(workload(rendered("default"), "edge"))
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("case", CASES)
def test_all_versions_of_kubernetes_get_the_same(case):
    assert rendered(case, VERSIONS[0]) == rendered(case, VERSIONS[-1])


@pytest.mark.parametrize("case", CASES)
def test_every_object_says_whose_it_is_and_is_there_once(case):
    made = rendered(case)
    keys = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in made]
    assert len(set(keys)) == len(keys)
    for one in made:
        extra = one["metadata"]["name"].endswith(("-more", "-text"))
        if extra:
            continue
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "penstock"
        assert labels["app.kubernetes.io/instance"] == RELEASE
        assert labels["app.kubernetes.io/part-of"] == "penstock"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/version"] == "0.1.0"
        if one["kind"] in {"CustomResourceDefinition", "ClusterRole"}:
            assert "namespace" not in one["metadata"]
        else:
            assert one["metadata"]["namespace"] == NAMESPACE


def test_nothing_is_asked_of_a_whole_cluster_but_the_definitions():
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "Namespace", "PriorityClass", "ClusterIssuer", "StorageClass"}
    for case in CASES:
        asked = {one["kind"] for one in of_kind(rendered(case), *cluster_wide)}
        assert asked == ({"ClusterRole"} if case == "monitoring" else set()), case


def test_the_small_profile_is_the_default():
    made = rendered("default")
    replicas = {component(one): one["spec"]["replicas"] for one in of_kind(made, "Deployment", "StatefulSet")}
    assert replicas == {"edge": 2, "auth": 1, "router": 1, "status": 1, "operator": 1}
    text = yaml.safe_dump(workload(made, "auth"))
    assert "sqlite:////var/lib/penstock/ledger.db" in text
    assert "REDIS" not in yaml.safe_dump(made)
    assert not of_kind(made, "Secret", "Ingress", "HorizontalPodAutoscaler", "ServiceMonitor", "HTTPRoute")


def test_definitions_are_the_files():
    for path in DEFINITIONS.glob("*.yaml"):
        original = yaml.safe_load(path.read_text())
        made = deepcopy(named(rendered("default"), "CustomResourceDefinition", original["metadata"]["name"]))
        assert made["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        made["metadata"].pop("labels")
        assert made == original


def test_definitions_can_be_left_out_or_let_go():
    assert not of_kind(rendered("bare"), "CustomResourceDefinition")
    let_go = of_kind(rendered("plain"), "CustomResourceDefinition")
    assert len(let_go) == len(CRDS)
    assert all("annotations" not in one["metadata"] for one in let_go)


@pytest.mark.parametrize("case", CASES)
def test_custom_resources_are_in_no_release(case):
    assert not [one for one in rendered(case) if one["apiVersion"].startswith("penstock.dev/")]


@pytest.mark.parametrize("case", CASES)
def test_nothing_holds_up_an_uninstall(case):
    for one in rendered(case):
        assert "finalizers" not in one["metadata"], one
        hook = one["metadata"].get("annotations", {}).get("helm.sh/hook")
        assert hook in {None, "test"}, one


def test_what_holds_data_stays():
    claim = named(rendered("default"), "PersistentVolumeClaim", "penstock-auth-ledger")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert workload(rendered("default"), "edge")["spec"]["persistentVolumeClaimRetentionPolicy"] == {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    }


def test_what_cannot_be_changed_is_the_same_for_all_values():
    """An upgrade from any values to any others must not touch selectors or templates of volumes."""
    selectors: dict[tuple[str, str], list[object]] = {}
    for case in CASES:
        for one in of_kind(rendered(case), "Deployment", "StatefulSet"):
            key = (one["kind"], component(one))
            selectors.setdefault(key, []).append(one["spec"]["selector"])
    assert {key for key in selectors if key[1] == "edge"} == {("StatefulSet", "edge"), ("Deployment", "edge")}
    for key, found in selectors.items():
        assert all(one == found[0] for one in found), key
    claims = [one["spec"]["volumeClaimTemplates"] for case in CASES for one in of_kind(rendered(case), "StatefulSet")]
    labels = {"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"}
    for (claim,) in claims:
        assert not labels & set(claim["metadata"]["labels"])
    services = {one["spec"]["serviceName"] for case in CASES for one in of_kind(rendered(case), "StatefulSet")}
    assert services == {"penstock-edge-headless", "penstock-gateway-edge-headless"}


def test_one_image_for_all():
    images = {pod["spec"]["containers"][0]["image"] for _, pod in pods(rendered("simulator"))}
    assert images == {"penstock:0.1.0"}
    for _, pod in pods(rendered("large")):
        (only,) = pod["spec"]["containers"]
        assert only["image"].startswith("registry.example/penstock@sha256:0123")
        assert only["imagePullPolicy"] == "IfNotPresent"
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    result = template("--set", "image.tag=v7,image.pullPolicy=Never,simulator.enabled=true")
    assert result.stdout.count('image: "penstock:v7"') == result.stdout.count("imagePullPolicy: Never") == 7


def test_more_objects():
    made = rendered("plain")
    assert named(made, "ConfigMap", "penstock-gateway-more")
    assert named(made, "ConfigMap", "penstock-gateway-text")
