"""Names that YAML reads as numbers or truths, as releases of review environments often have, are names all the same."""

import json
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest

from penstock_operator.settings import OperatorSettings
from tests.chart.rendering import CHART, VERSIONS, case_file, helm, objects, value

pytestmark = pytest.mark.xdist_group("chart")  # one process renders everything, once

FOREIGN = ("cert-manager.io/", "gateway.networking.k8s.io/", "keda.sh/", "monitoring.coreos.com/")
PARTS = ("edge", "auth", "router", "status", "operator")
NAMES = {
    "fullnameOverride": "1234",
    "rbac": {"aggregate": True},
    "database": {"existingSecret": "01", "key": "1"},
    "redis": {"existingSecret": "02", "key": "2"},
    "upstreamCA": {"configMap": "03"},
    "status": {"adminToken": {"existingSecret": "04", "key": "4"}},
    "tracing": {"endpoint": "http://collector:4318", "existingSecret": "05", "key": "5"},
    "test": {"existingSecret": "06", "key": "6"},
    "edge": {
        "priorityClassName": "07",
        "serviceAccount": {"name": "08"},
        "service": {"type": "LoadBalancer", "loadBalancerClass": "true"},
    },
    "operator": {"serviceAccount": {"create": False, "name": "null"}},
    "ingress": {
        "enabled": True,
        "className": "no",
        "hosts": ["a.example"],
        "tls": {"enabled": True, "existingSecret": "0x10"},
    },
    "imagePullSecrets": [{"name": "09"}],
    "observability": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    },
}


def names(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything below that is a name, a namespace or a label."""
    if isinstance(value, dict):
        for key, below in value.items():
            if key in {"name", "namespace", "secretName", "instance"} or path.endswith(("abels", "matchNames")):
                yield f"{path}.{key}", below
            yield from names(below, f"{path}.{key}")
    elif isinstance(value, list):
        for below in value:
            yield from names(below, path)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tls": {"mode": "ExistingSecrets", "existingSecrets": {one: "10" for one in PARTS}}},
        {"tls": {"mode": "CertManager", "certManager": {"issuerRef": {"name": "11"}}}, "upstreamCA": {"secret": "12"}},
    ],
    ids=["Operator", "ExistingSecrets", "CertManager"],
)
def test_numbers_are_names(more):
    asked = ("template", "1234", str(CHART), "--namespace", "5678", "--kube-version", f"{VERSIONS[0]}.0")
    values = json.dumps({**NAMES, **more})
    result = helm(*asked, "--values", case_file("keda"), "--values", "-", values=values)
    assert result.returncode == 0, result.stderr
    for one in objects(result.stdout):
        wrong = [(path, name) for path, name in names(one) if not isinstance(name, str | dict | list)]
        assert not wrong, (one["kind"], wrong)
        if not one["apiVersion"].startswith(FOREIGN):
            kubernetes_validate.validate(one, VERSIONS[0], strict=True)


@pytest.mark.parametrize("release", ["a" * 38 + "--b", "feature-" + "a" * 29 + "---bc", "a.b"])
def test_the_operator_takes_the_release_by_its_name(release):
    """However long a name is, and wherever it is cut off."""
    result = helm(
        "template", release, str(CHART), "--namespace", "gw", "--show-only", "templates/operator/workload.yaml"
    )
    (operator,) = objects(result.stdout)
    assert OperatorSettings(release=value(operator["spec"]["template"], "PENSTOCK_OPERATOR_RELEASE"))
