"""The chart with pods: installed, asked, upgraded under load, scaled, rolled back, uninstalled. In this order.

Needs a cluster whose nodes run pods, `PENSTOCK_TEST_IMAGE`, and a default StorageClass for what keeps books.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.cluster import kubernetes as k8s
from tests.cluster.conftest import Pods, namespace_of, patience
from tests.cluster.jobs import Work, assert_all_good
from tests.cluster.kubernetes import ACCOUNT, OURS, POD, SECRET, Kind, Kubernetes, eventually
from tests.cluster.release import ROOT, Helm, documents, of_kinds

pytestmark = pytest.mark.usefixtures("definitions")

Json = Any
DEMO = ROOT / "deploy" / "environments" / "demo" / "values.yaml"
WAIT = ["--wait", "--timeout", f"{int(patience(300))}s"]
LONG = "chunks=60 pace=200ms tokens=180"
"""A stream of twelve seconds."""


class Site:
    """A release of the demonstration: a simulator stands in for the provider."""

    def __init__(self, inside: Kubernetes, pods: Pods) -> None:
        self.api = inside
        self.pods = pods
        settings = ["crds.enabled=false", *pods.values]
        if not default_storage(inside):
            settings += ["edge.persistence.enabled=false", "auth.persistence.enabled=false"]
        self.helm = Helm(inside, settings, files=[DEMO])
        self.name = self.helm.fullname
        self.demo: dict[str, list[str]] = {}
        self.key_secret = ""
        self.url = f"http://{self.name}-edge:8080"

    @property
    def edges(self) -> Kind:
        (workload,) = [
            one
            for one in of_kinds(self.helm.manifest(), "Deployment", "StatefulSet")
            if one["metadata"]["name"] == f"{self.name}-edge"
        ]
        return self.api.kind("apps/v1", workload["kind"])

    def pods_of(self, component: str) -> list[Json]:
        selector = f"app.kubernetes.io/instance={self.helm.release},app.kubernetes.io/component={component}"
        return self.api.list(POD, labelSelector=selector)

    def ready(self, component: str, count: int) -> bool:
        there = self.pods_of(component)
        good = [pod for pod in there if not pod["metadata"].get("deletionTimestamp") and is_ready(pod)]
        return len(good) == len(there) == count

    def await_pods(self, component: str, count: int, seconds: float = 240) -> None:
        eventually(
            f"{count} ready pods of {component}",
            lambda: self.ready(component, count),
            patience(seconds),
            pause=1.0,
            seen=self.shown,
        )

    def shown(self) -> Any:
        """Every pod's state, for people."""
        return [
            (
                pod["metadata"]["name"],
                (pod.get("status") or {}).get("phase"),
                is_ready(pod),
                [
                    (one.get("restartCount"), one.get("state"))
                    for one in (pod.get("status") or {}).get("containerStatuses", ())
                ],
            )
            for pod in self.api.list(POD)
        ]

    def apply_demo(self) -> None:
        """What the notes of the release say: the resources that the chart offers for its simulator."""
        kind = self.api.kind("v1", "ConfigMap")
        text = self.api.read(kind, f"{self.name}-demo").expect()["data"]["resources.yaml"]
        for document in documents(text):
            self.api.apply(document).expect()
            self.demo.setdefault(document["kind"], []).append(document["metadata"]["name"])
            if document["kind"] == "APIKey":
                self.key_secret = document["spec"]["secretName"]

    def key(self) -> str:
        held = eventually("the key is issued", lambda: self.api.secret(self.key_secret), patience(60), seen=self.shown)
        return held["api-key"].decode()

    def client(self, **told: str) -> Work:
        return Work(self.api, self.pods, **({"URL": self.url, "KEY": self.key()} | told))

    def await_ready(self, kind: Kind, name: str) -> None:
        def says() -> bool:
            found = self.api.read(kind, name).expect()
            return any(
                (one["type"], one["status"]) == ("Ready", "True")
                and one.get("observedGeneration") == found["metadata"]["generation"]
                for one in (found.get("status") or {}).get("conditions") or ()
            )

        eventually(
            f"{kind.plural}/{name} is Ready",
            says,
            patience(90),
            seen=lambda: self.api.read(kind, name).body.get("status"),
        )

    def restarts(self) -> dict[str, int]:
        return {
            pod["metadata"]["name"]: sum(one["restartCount"] for one in pod["status"].get("containerStatuses", ()))
            for pod in self.api.list(POD)
        }


def is_ready(pod: Json) -> bool:
    return any(
        (one["type"], one["status"]) == ("Ready", "True") for one in (pod.get("status") or {}).get("conditions") or ()
    )


def default_storage(inside: Kubernetes) -> bool:
    classes = inside.list(inside.kind("storage.k8s.io/v1", "StorageClass"))
    mark = "storageclass.kubernetes.io/is-default-class"
    return any((one["metadata"].get("annotations") or {}).get(mark) == "true" for one in classes)


@pytest.fixture(scope="module")
def site(cluster: Kubernetes, pods: Pods) -> Iterator[Site]:
    with namespace_of(cluster, "pods") as inside:
        made = Site(inside, pods)
        try:
            made.helm.install(arguments=WAIT)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{made.shown()}") from None
        made.apply_demo()
        yield made
        made.helm.uninstall("--no-hooks", good=False)


@pytest.fixture(autouse=True)
def _after_a_failure(site: Site, request: pytest.FixtureRequest) -> Iterator[None]:
    """What the pods look like belongs to a failure's report."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(site.shown())


def test_everything_runs_and_nothing_has_restarted(site: Site) -> None:
    for component, count in (("edge", 2), ("auth", 1), ("router", 1), ("status", 1), ("operator", 1), ("simulator", 1)):
        site.await_pods(component, count)
    assert set(site.restarts().values()) == {0}, site.restarts()


def test_resources_become_ready(site: Site) -> None:
    assert site.demo["UpstreamAccount"]
    for kind in ("UpstreamAccount", "Plan", "APIKey"):
        for name in site.demo[kind]:
            site.await_ready(OURS[kind], name)


def test_a_request_through_the_service(site: Site) -> None:
    assert_all_good(site.client(STREAM="0").result())
    assert_all_good(site.client(DIRECTIVE="chunks=30 pace=200ms tokens=90").result())


def test_helm_test(site: Site) -> None:
    done = site.helm.run("test", site.helm.release, "--timeout", f"{int(patience(180))}s", good=False)
    logs = [
        site.api.request("GET", f"{POD.path(site.api.namespace, pod['metadata']['name'])}/log").body
        for pod in site.api.list(POD)
        if "helm.sh/hook" in (pod["metadata"].get("annotations") or {})
    ]
    assert done.returncode == 0, (done.stderr, logs)


def test_a_request_through_the_ingress(site: Site) -> None:
    classes = [one["metadata"]["name"] for one in site.api.list(site.api.kind("networking.k8s.io/v1", "IngressClass"))]
    wanted = os.environ.get("PENSTOCK_TEST_INGRESS_CLASS") or (
        "nginx" if "nginx" in classes else min(classes, default="")
    )
    if wanted not in classes:
        pytest.skip(f"no IngressClass {wanted} in this cluster (there are: {classes}): the ingress path is not tested")
    host = f"{site.api.namespace}.example"
    site.helm.upgrade("ingress.enabled=true", f"ingress.className={wanted}", f"ingress.hosts[0]={host}", arguments=WAIT)
    kind = site.api.kind("networking.k8s.io/v1", "Ingress")
    (ingress,) = site.api.list(kind)
    outside = os.environ.get("PENSTOCK_TEST_INGRESS_URL")
    if outside:
        headers = {"host": host, "x-api-key": site.key(), "anthropic-version": "2023-06-01"}
        body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello."}]}

        def answered() -> bool:
            return httpx.post(f"{outside}/v1/messages", headers=headers, json=body, timeout=30).status_code == 200

        eventually("the ingress answers", answered, patience(90))
        return

    def address() -> str:
        found = (site.api.read(kind, ingress["metadata"]["name"]).expect().get("status") or {}).get(
            "loadBalancer"
        ) or {}
        return next((one.get("ip") or one.get("hostname", "") for one in found.get("ingress") or ()), "")

    try:
        at = eventually("the Ingress has an address", address, patience(120))
    except AssertionError:
        pytest.skip("the Ingress got no address; name its controller's URL in PENSTOCK_TEST_INGRESS_URL")
    if at == "localhost":
        pytest.skip("the Ingress's address is localhost: name it in PENSTOCK_TEST_INGRESS_URL=http://localhost")
    done = site.client(URL=f"http://{at}", HOST=host, DIRECTIVE="chunks=30 pace=200ms tokens=90").result()
    assert_all_good(done)


def test_a_rolling_update_cuts_no_stream(site: Site) -> None:
    before = {pod["metadata"]["uid"] for pod in site.pods_of("edge")}
    seconds = patience(180)
    client = site.client(SECONDS=str(int(seconds)), STREAMS="6", DIRECTIVE=LONG)
    client.await_start()
    site.helm.upgrade("edge.podAnnotations.penstock-test/turn=one", arguments=WAIT)

    def replaced() -> bool:
        now = [pod for pod in site.pods_of("edge")]
        return (
            len(now) == 2 and all(is_ready(pod) for pod in now) and not before & {pod["metadata"]["uid"] for pod in now}
        )

    eventually("both edges are new", replaced, patience(240), pause=1.0, seen=site.shown)
    assert_all_good(client.result(seconds + patience(180)))


def test_the_routers_and_the_operators_restart_are_not_noticed(site: Site) -> None:
    client = site.client(SECONDS=str(int(patience(90))), STREAMS="4", DIRECTIVE="chunks=10 pace=100ms tokens=30")
    client.await_start()
    for component in ("operator", "router"):
        before = {pod["metadata"]["uid"] for pod in site.pods_of(component)}
        for pod in site.pods_of(component):
            site.api.delete(POD, pod["metadata"]["name"]).expect()
        eventually(
            f"another {component} is ready",
            lambda component=component, before=before: (
                site.ready(component, 1) and not before & {pod["metadata"]["uid"] for pod in site.pods_of(component)}
            ),
            patience(120),
            seen=site.shown,
        )
    assert_all_good(client.result(patience(240)))


def test_edges_from_two_to_four_to_two(site: Site) -> None:
    client = site.client(SECONDS=str(int(patience(150))), STREAMS="6", DIRECTIVE=LONG)
    client.await_start()
    site.helm.upgrade("edge.replicaCount=4", arguments=WAIT)
    site.await_pods("edge", 4)
    site.helm.upgrade("edge.replicaCount=2", arguments=WAIT)
    site.await_pods("edge", 2)
    assert_all_good(client.result(patience(360)))
    for name in site.demo["UpstreamAccount"]:
        site.await_ready(ACCOUNT, name)


def test_rollback(site: Site) -> None:
    site.helm.rollback(1, *WAIT)
    site.await_pods("edge", 2)
    assert site.helm.status()["info"]["status"] == "deployed"
    assert_all_good(site.client().result())


def test_uninstall_leaves_nothing_hanging(site: Site) -> None:
    site.helm.uninstall("--wait", "--timeout", f"{int(patience(300))}s")
    # The pod of `helm test` is a hook, which helm leaves for people to read.
    components = f"app.kubernetes.io/instance={site.helm.release},app.kubernetes.io/component!=test"
    eventually(
        "its pods are gone",
        lambda: not site.api.list(POD, labelSelector=components),
        patience(180),
        pause=1.0,
        seen=site.shown,
    )
    for kind, name in [(kind, name) for word, kind in OURS.items() for name in site.demo.get(word, ())]:
        assert site.api.get(kind, name) is not None, "what people wrote stays"
        site.api.delete(kind, name).expect()
        eventually(f"{name} is gone", lambda kind=kind, name=name: site.api.get(kind, name) is None, patience(20))
    eventually("the key's Secret goes with it", lambda: site.api.get(SECRET, site.key_secret) is None, patience(60))
    site.api.delete(k8s.NAMESPACE, site.api.namespace, propagationPolicy="Background").expect()
    eventually(
        "the namespace is gone",
        lambda: site.api.get(k8s.NAMESPACE, site.api.namespace) is None,
        patience(180),
        pause=1.0,
        seen=lambda: site.api.read(k8s.NAMESPACE, site.api.namespace).body.get("status"),
    )
