"""What each of the chart's ServiceAccounts may do, with its real token, on the API server that decides it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock_catalog.shards import secret_names
from tests.cluster import kubernetes as k8s
from tests.cluster.conftest import namespace_of, patience
from tests.cluster.kubernetes import OURS, SECRET, Kubernetes, eventually
from tests.cluster.release import Helm, apply_access

pytestmark = pytest.mark.usefixtures("definitions")

Json = Any
CATALOGS = ("router", "auth")
COMPONENTS = ("edge", "auth", "router", "status", "operator", "simulator")
DRY = {"dryRun": "All"}


class Accounts:
    """The API as each component of a release, and as the administrator."""

    def __init__(self, inside: Kubernetes, folder: Path) -> None:
        self.admin = inside
        self.helm = Helm(inside, ["simulator.enabled=true"])
        self.release = self.helm.fullname
        self.rendered = self.helm.template()
        apply_access(inside, self.rendered)
        for names in (self.catalog("router"), self.catalog("auth"), [f"{self.release}-ca", "somebody-elses"]):
            for name in names:
                inside.create(secret(name)).expect()
        self.acting = {one: inside.acting(self.token(one), folder / one) for one in COMPONENTS}

    def catalog(self, component: str) -> list[str]:
        return list(secret_names(f"{self.release}-{component}-catalog"))

    def token(self, component: str) -> str:
        return self.admin.token_of(f"{self.release}-{component}")

    def __getitem__(self, component: str) -> Kubernetes:
        return self.acting[component]


def secret(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"payload": "x"}}


@pytest.fixture(scope="module")
def accounts(cluster: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    with namespace_of(cluster, "access") as inside:
        made = Accounts(inside, tmp_path_factory.mktemp("access"))
        own = made.catalog("router")[0]
        # Authorisers hear of new roles a moment later.
        eventually("roles are in force", lambda: made["router"].read(SECRET, own).good, patience(20))
        yield made
        for acting in made.acting.values():
            acting.close()


@pytest.mark.parametrize("component", CATALOGS)
def test_a_reader_reads_its_own_catalog(accounts: Accounts, component: str) -> None:
    reader = accounts[component]
    names = accounts.catalog(component)
    assert len(names) == 17
    for name in names:
        assert reader.secret(name) == {"payload": b"x"}
        listed = reader.list(SECRET, fieldSelector=f"metadata.name={name}")
        assert [one["metadata"]["name"] for one in listed] == [name]
    head = names[0]
    with reader.watching(SECRET, 5, fieldSelector=f"metadata.name={head}", resourceVersion="0") as events:
        assert next(events)["object"]["metadata"]["name"] == head


@pytest.mark.parametrize("component", CATALOGS)
def test_and_no_other_secret(accounts: Accounts, component: str) -> None:
    reader = accounts[component]
    (other,) = set(CATALOGS) - {component}
    for name in (*accounts.catalog(other), f"{accounts.release}-ca", "somebody-elses", "not-there"):
        assert reader.read(SECRET, name).status == 403, name
        assert reader.request("GET", SECRET.path(reader.namespace), fieldSelector=f"metadata.name={name}").status == 403
    assert reader.request("GET", SECRET.path(reader.namespace)).status == 403
    assert reader.request("GET", "/api/v1/secrets").status == 403
    with pytest.raises(AssertionError, match="403"), reader.watching(SECRET, 5):
        pass
    for name in accounts.catalog(component)[:2]:
        assert reader.patch(SECRET, name, {"stringData": {"payload": "y"}}, **DRY).status == 403
        assert reader.delete(SECRET, name, **DRY).status == 403
    assert reader.create(secret("new"), **DRY).status == 403


@pytest.mark.parametrize("component", ["edge", "status", "simulator"])
def test_who_needs_nothing_of_the_api_may_nothing(accounts: Accounts, component: str) -> None:
    assert rules_beyond_everybodys(accounts, component) == set()
    acting = accounts[component]
    for kind in (SECRET, k8s.POD, *OURS.values()):
        assert acting.request("GET", kind.path(acting.namespace)).status == 403, kind.plural


@pytest.mark.parametrize("component", CATALOGS)
def test_a_readers_rules_are_these_and_no_more(accounts: Accounts, component: str) -> None:
    assert rules_beyond_everybodys(accounts, component) == {
        (verb, "", "secrets", name) for verb in ("get", "list", "watch") for name in accounts.catalog(component)
    }


OPERATOR_RULES = {
    *((verb, "penstock.dev", kind.plural, "") for kind in OURS.values() for verb in ("get", "list", "watch")),
    *(("patch", "penstock.dev", f"{kind.plural}/status", "") for kind in OURS.values()),
    # Accounts and keys name Secrets as they like, so no list of names would do.
    *((verb, "", "secrets", "") for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *((verb, "", "events", "") for verb in ("create", "patch")),
}


def test_the_operators_rules_are_these_and_no_more(accounts: Accounts) -> None:
    assert rules_beyond_everybodys(accounts, "operator") == OPERATOR_RULES


def rules_beyond_everybodys(accounts: Accounts, component: str) -> set[tuple[str, str, str, str]]:
    """(verb, group, resource, name) that this account has and any other of its namespace has not."""
    nobody = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}
    accounts.admin.apply(nobody).expect()
    plain = accounts.admin.acting(accounts.admin.token_of("nobody"), accounts[component].file.with_name("nobody"))
    try:
        return rules(accounts[component]) - rules(plain)
    finally:
        plain.close()


def rules(acting: Kubernetes) -> set[tuple[str, str, str, str]]:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": acting.namespace},
    }
    told = acting.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body=review).expect(201)
    assert not told["status"]["incomplete"] or not told["status"]["resourceRules"]
    return {
        (verb, group, resource, name)
        for rule in told["status"]["resourceRules"]
        for verb in rule["verbs"]
        for group in rule.get("apiGroups", ("",))
        for resource in rule.get("resources", ())
        for name in rule.get("resourceNames") or ("",)
    }


def test_the_operator_does_its_work_and_no_more(accounts: Accounts) -> None:
    operator, admin = accounts["operator"], accounts.admin
    plan = {"apiVersion": k8s.GROUP_VERSION, "kind": "Plan", "metadata": {"name": "p"}, "spec": {}}
    admin.create(plan).expect()
    for kind in OURS.values():
        assert operator.request("GET", kind.path(operator.namespace)).good
    operator.patch(k8s.PLAN, "p", {"status": {"observedGeneration": 1}}, "status").expect()
    for answer in (
        operator.patch(k8s.PLAN, "p", {"spec": {"credit": "Required"}}, **DRY),
        operator.patch(k8s.PLAN, "p", {"metadata": {"finalizers": ["penstock.dev/x"]}}, **DRY),
        operator.delete(k8s.PLAN, "p", **DRY),
        operator.create(plan, **DRY),
        operator.request("GET", k8s.POD.path(operator.namespace)),
        operator.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
        operator.request("GET", "/api/v1/secrets"),
        operator.request("GET", SECRET.path("kube-system")),
        operator.request("GET", "/apis/penstock.dev/v1alpha1/plans"),
        operator.request("GET", "/api/v1/namespaces"),
    ):
        assert answer.status == 403, answer.body
    assert operator.create(secret("made-by-operator")).status == 201
    operator.patch(SECRET, "made-by-operator", {"stringData": {"payload": "z"}}).expect()
    operator.delete(SECRET, "made-by-operator").expect()


def test_a_key_may_not_block_its_own_deletion(accounts: Accounts) -> None:
    """A Secret owned by an APIKey is written with a plain owner reference; the operator may not set finalizers."""
    owned = secret("owned-by-a-key")
    key = {
        "apiVersion": k8s.GROUP_VERSION,
        "kind": "APIKey",
        "metadata": {"name": "k"},
        "spec": {"project": "demo", "planRef": {"name": "p"}, "secretName": "owned-by-a-key"},
    }
    made = accounts.admin.create(key).expect()
    owner = {"apiVersion": k8s.GROUP_VERSION, "kind": "APIKey", "name": "k", "uid": made["metadata"]["uid"]}
    owned["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    accounts["operator"].create(owned, **DRY).expect(201)
