"""The API's client before a server that misbehaves."""

from __future__ import annotations

import pytest

from penstock_catalog.cluster_access import ClusterAccess, from_kubeconfig
from penstock_operator.cluster import Cluster, ClusterError, ConflictError, NotFoundError, RefusedError
from penstock_operator.kinds import EVENT, PLAN, SECRET
from tests.kube import KubeServer
from tests.operator.world import plan, secret


@pytest.fixture
async def kube():
    async with KubeServer() as server:
        yield server


@pytest.fixture
async def cluster(kube, tmp_path):
    made = Cluster(from_kubeconfig(kube.kubeconfig(tmp_path)), deadline_seconds=0.5)
    yield made
    await made.close()


async def test_a_list_is_taken_page_by_page_and_says_what_it_lists(kube, cluster):
    kube.apply(*(plan(f"p{number:04}") for number in range(1201)))
    listing = await cluster.list(PLAN)
    assert [item["metadata"]["name"] for item in listing.objects] == [f"p{number:04}" for number in range(1201)]
    assert {(item["kind"], item["apiVersion"]) for item in listing.objects} == {("Plan", "penstock.dev/v1alpha1")}
    assert listing.resource_version.isdecimal()
    assert [method for method, plural, _ in kube.asked if plural == "plans"] == ["GET"] * 3


async def test_secrets_are_made_changed_and_removed(kube, cluster):
    assert await cluster.get_secret("a") is None
    made = await cluster.create_secret({"metadata": {"name": "a"}, "data": {"x": "eA=="}})
    with pytest.raises(ConflictError):
        await cluster.create_secret({"metadata": {"name": "a"}})
    patched = await cluster.patch_secret("a", {"metadata": {"uid": made["metadata"]["uid"]}, "data": {"y": "eQ=="}})
    assert patched["data"] == {"x": "eA==", "y": "eQ=="}
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"z": "eg=="}}
    with pytest.raises(ConflictError):
        await cluster.patch_secret("a", stale)
    with pytest.raises(ConflictError):
        await cluster.delete_secret("a", uid="another")
    await cluster.delete_secret("a", uid=made["metadata"]["uid"])
    await cluster.delete_secret("a")
    with pytest.raises(NotFoundError):
        await cluster.patch_secret("a", {})


async def test_a_busy_server_is_asked_a_few_times(kube, cluster):
    kube.apply(secret("a", x="x"))
    kube.failing = [429, 503]
    assert (await cluster.get_secret("a"))["metadata"]["name"] == "a"
    kube.failing = [500] * 3
    with pytest.raises(ClusterError, match="500: as it was told"):
        await cluster.get_secret("a")
    assert not kube.failing


@pytest.mark.parametrize("status", [400, 403, 413, 422])
async def test_a_no_is_a_no(kube, cluster, status):
    kube.failing = [status]
    with pytest.raises(RefusedError, match=str(status)):
        await cluster.create_secret({"metadata": {"name": "a"}})
    assert len(kube.asked) == 1


async def test_an_event_is_tried_once(kube, cluster):
    kube.failing = [500]
    with pytest.raises(ClusterError):
        await cluster.create_event({"metadata": {"name": "e"}})
    assert kube.asked == [("POST", EVENT.plural, "")]


async def test_a_frozen_server_is_given_up_in_time(kube, cluster):
    kube.frozen = True
    with pytest.raises(ClusterError, match="did not answer in time"):
        await cluster.get_secret("a")
    kube.frozen = False
    assert await cluster.get_secret("a") is None


async def test_a_server_that_is_gone_is_found_again(kube, cluster):
    await cluster.get_secret("a")
    await kube.stop()
    with pytest.raises(ClusterError, match="cannot be reached"):
        await cluster.get_secret("a")
    await kube.start()
    assert await cluster.get_secret("a") is None


async def test_a_missing_kind_is_told(kube, cluster):
    kube.refused["GET", "plans"] = 404
    with pytest.raises(NotFoundError):
        await cluster.list(PLAN)


async def test_an_answer_that_is_none_is_told(kube, cluster, monkeypatch):
    monkeypatch.setattr(kube, "_list", lambda *_: ["not", "a", "list"])
    with pytest.raises(ClusterError, match="not JSON"):
        await cluster.list(SECRET)


async def test_no_failure_shows_the_token(kube, tmp_path):
    known = from_kubeconfig(kube.kubeconfig(tmp_path))
    broken = ClusterAccess(known.server, known.namespace, lambda: "a-token\nof-two-lines", known.tls)
    with pytest.raises(ClusterError) as error:
        await Cluster(broken).get_secret("a")
    assert "two-lines" not in str(error.value)
