"""The resource definitions on a real API server: what it takes, refuses, fills in, drops, prints and discovers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml

from tests.chart import cluster as played
from tests.chart.custom_resources import CRDS, ROOT, SCHEMAS, Case, cases, document, said
from tests.chart.test_crd_manifests import COLUMNS, STATUSES
from tests.cluster import kubernetes as k8s
from tests.cluster.kubernetes import OURS, Kubernetes

pytestmark = pytest.mark.usefixtures("definitions")

Json = Any
DRY = {"dryRun": "All"}
_numbers = itertools.count()


def named(resource: Json, name: str = "") -> Json:
    """The same under a name of its own."""
    return {**resource, "metadata": {"name": name or f"example-{next(_numbers)}"}}


def example(kind: str, name: str = "") -> Json:
    return named(next(case.document for case in cases("good") if case.kind == kind and case.name == "everything"), name)


@pytest.mark.parametrize("kind", CRDS)
def test_the_definition_itself_is_taken_without_a_warning(cluster: Kubernetes, kind: str) -> None:
    answer = cluster.apply(CRDS[kind], dryRun="All")
    answer.expect()
    assert answer.warnings == ()
    found = cluster.read(k8s.CRD, CRDS[kind]["metadata"]["name"]).expect()
    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert conditions["NamesAccepted"] == conditions["Established"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False", found["status"]
    assert found["status"]["storedVersions"] == ["v1alpha1"]


@pytest.mark.parametrize("case", cases("good"), ids=str)
def test_what_is_good_is_taken_and_completed(shared_namespace: Kubernetes, case: Case) -> None:
    answer = shared_namespace.create(named(case.document), **DRY)
    stored = answer.expect(201)
    assert answer.warnings == ()
    # The played API server of tests/chart is held against the real one here.
    assert stored["spec"] == played.admitted(case.document)["spec"]


@pytest.mark.parametrize("case", cases("bad"), ids=str)
def test_what_is_bad_is_refused_with_the_message_in_the_table(shared_namespace: Kubernetes, case: Case) -> None:
    answer = shared_namespace.create(named(case.document), **DRY)
    assert answer.status in {400, 422}, f"{answer.status}: {answer.body}"
    if "strict decoding error" in answer.faults[0] and "unknown field" not in case.cluster:
        # Strictness speaks before the schema does: where a list is a mapping, of the mapping's keys.
        answer = shared_namespace.create(named(case.document), dryRun="All", fieldValidation="Ignore")
    assert said(case.cluster, answer.faults), answer.faults


@pytest.mark.parametrize("case", cases("changes"), ids=str)
def test_what_may_not_change_does_not(shared_namespace: Kubernetes, case: Case) -> None:
    kind = OURS[case.kind]
    before = shared_namespace.create(named(document(case.kind, case.before))).expect(201)
    try:
        answer = shared_namespace.replace({**before, "spec": case.spec}, **DRY)
        if case.cluster:
            assert answer.status == 422, answer.body
            assert said(case.cluster, answer.faults), answer.faults
        else:
            answer.expect()
    finally:
        shared_namespace.delete(kind, before["metadata"]["name"])


@pytest.mark.parametrize("kind", OURS)
def test_unknown_fields_are_dropped_where_nobody_asks_for_strictness(shared_namespace: Kubernetes, kind: str) -> None:
    resource = example(kind)
    resource = {**resource, "spec": {**resource["spec"], "colour": "red"}}
    answer = shared_namespace.create(resource, dryRun="All", fieldValidation="Warn")
    assert "colour" not in answer.expect(201)["spec"]
    assert any('unknown field "spec.colour"' in warning.replace("\\", "") for warning in answer.warnings), (
        answer.warnings
    )
    refused = shared_namespace.create(resource, **DRY)
    assert said('unknown field "spec.colour"', refused.faults), refused.body


@pytest.mark.parametrize("kind", OURS)
def test_status_is_a_resource_of_its_own(shared_namespace: Kubernetes, kind: str) -> None:
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "It works.",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }
    status = {"observedGeneration": 1, "conditions": [condition], **STATUSES[kind]}
    made = shared_namespace.create({**example(kind), "status": status}).expect(201)
    name = made["metadata"]["name"]
    try:
        assert "status" not in made, "a status is not taken along with a spec"
        written = shared_namespace.patch(OURS[kind], name, {"status": status}, "status").expect()
        assert written["status"] == status
        assert written["metadata"]["generation"] == made["metadata"]["generation"] == 1
        # A status cannot change a spec, a spec not a status, and only a spec makes a generation.
        again = shared_namespace.patch(
            OURS[kind], name, {"spec": {"mode": "Nonsense"}, "status": {}}, "status"
        ).expect()
        assert again["spec"] == made["spec"]
        dropped = shared_namespace.patch(OURS[kind], name, {"status": {"phase": "Ready"}}, "status").expect()
        assert dropped["status"] == status
        wrong = shared_namespace.patch(
            OURS[kind], name, {"status": {"conditions": [{**condition, "status": "Yes"}]}}, "status"
        )
        assert said('status.conditions[0].status: Unsupported value: "Yes"', wrong.faults), wrong.body
        twice = shared_namespace.patch(OURS[kind], name, {"status": {"conditions": [condition, condition]}}, "status")
        assert said("status.conditions[1]: Duplicate value", twice.faults), twice.body
    finally:
        shared_namespace.delete(OURS[kind], name)


CELLS = {
    "UpstreamAccount": {"Provider": "spec.provider", "Mode": "spec.mode"},
    "Model": {
        "OwnedBy": "spec.ownedBy",
        "ReadyAccounts": "status.readyAccounts",
        "TotalAccounts": "status.totalAccounts",
    },
    "Plan": {"Credit": "spec.credit", "OverBudget": "spec.overBudget", "OnStoreOutage": "spec.onStoreOutage"},
    "APIKey": {
        "Project": "spec.project",
        "Plan": "spec.planRef.name",
        "Mode": "spec.mode",
        "Prefix": "status.keyPrefix",
    },
}


@pytest.mark.parametrize("kind", OURS)
def test_what_kubectl_get_prints(shared_namespace: Kubernetes, kind: str) -> None:
    made = shared_namespace.create(example(kind)).expect(201)
    name = made["metadata"]["name"]
    try:
        condition = {
            "type": "Ready",
            "status": "False",
            "reason": "Cooling",
            "message": "Rests.",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status = {"conditions": [{**condition, "type": "Accepted", "reason": "Other"}, condition], **STATUSES[kind]}
        whole = shared_namespace.patch(OURS[kind], name, {"status": status}, "status").expect()
        table = shared_namespace.table(OURS[kind], fieldSelector=f"metadata.name={name}")
        columns = [column["name"] for column in table["columnDefinitions"]]
        assert columns == ["Name", *COLUMNS[kind], "Ready", "Reason", "Age"]
        priorities = {column["name"]: column["priority"] for column in table["columnDefinitions"]}
        assert priorities["Reason"] == 1
        assert priorities["Ready"] == 0
        (row,) = table["rows"]
        cells = dict(zip(columns, row["cells"], strict=True))
        assert (cells["Name"], cells["Ready"], cells["Reason"]) == (name, "False", "Cooling")
        for column, path in CELLS[kind].items():
            value: Json = whole
            for step in path.split("."):
                value = value[step]
            assert cells[column] == value, column
    finally:
        shared_namespace.delete(OURS[kind], name)


@pytest.mark.parametrize(
    ("kind", "short"), [("UpstreamAccount", "ua"), ("Model", "mdl"), ("Plan", "plan"), ("APIKey", "ak")]
)
def test_short_names_and_the_category(cluster: Kubernetes, kind: str, short: str) -> None:
    facts = cluster.discover("penstock.dev/v1alpha1")[kind]
    assert facts["categories"] == ["penstock"]
    # A short name that is the plural or singular already is not told again.
    assert short in {facts["singularName"], *facts.get("shortNames", ())}
    assert facts["namespaced"]
    assert set(facts["verbs"]) >= {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}


def test_kubectl_explain_knows_every_field(cluster: Kubernetes) -> None:
    told = cluster.request("GET", "/openapi/v3/apis/penstock.dev/v1alpha1").expect()["components"]["schemas"]
    for kind, schema in SCHEMAS.items():
        (shown,) = [
            one
            for one in told.values()
            if one.get("x-kubernetes-group-version-kind")
            == [{"group": "penstock.dev", "kind": kind, "version": "v1alpha1"}]
        ]
        assert described(shown["properties"]["spec"]) == described(schema["properties"]["spec"])


def described(schema: Json, path: str = "spec") -> dict[str, str]:
    found = {path: schema.get("description", "")}
    for name, below in schema.get("properties", {}).items():
        found |= described(below, f"{path}.{name}")
    return found | (described(schema["items"], f"{path}[]") if "items" in schema else {})


def test_the_example_that_people_copy_is_taken(shared_namespace: Kubernetes) -> None:
    text = (ROOT / "docs" / "examples" / "resources.yaml").read_text()
    resources = [resource for resource in yaml.safe_load_all(text) if resource]
    assert {resource["kind"] for resource in resources} >= set(OURS)
    for resource in resources:
        answer = shared_namespace.apply(resource, **DRY)
        answer.expect()
        assert answer.warnings == ()


def test_server_side_apply_keeps_what_others_own(shared_namespace: Kubernetes) -> None:
    """Limits of a plan are a map by name: two managers can each own one."""
    name = f"example-{next(_numbers)}"
    limits = [{"name": one, "unit": "Requests", "amount": 1, "window": "1m"} for one in ("a", "b")]
    for manager, limit in zip(("first", "second"), limits, strict=True):
        plan = named(document("Plan", {"limits": [limit]}), name)
        merged = shared_namespace.apply(plan, fieldManager=manager, force=None).expect()
    try:
        assert [one["name"] for one in merged["spec"]["limits"]] == ["a", "b"]
    finally:
        shared_namespace.delete(k8s.PLAN, name)
