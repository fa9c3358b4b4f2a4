"""A Kubernetes API over HTTPS, as far as the tests ask: any kind by discovery, as any user, with what was seen."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from penstock_catalog.cluster_access import from_kubeconfig

Json = Any

FIELD_MANAGER = "penstock-cluster-tests"
GROUP_VERSION = "penstock.dev/v1alpha1"
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    status: int
    body: Json
    warnings: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def faults(self) -> list[str]:
        """What it finds wrong, each as `field: message`; its whole message first."""
        if self.good or not isinstance(self.body, dict):
            return []
        causes = (self.body.get("details") or {}).get("causes") or ()
        return [self.body.get("message", ""), *(f"{one.get('field', '')}: {one.get('message', '')}" for one in causes)]

    def expect(self, *statuses: int) -> Json:
        """Return the body; fails when the status is none of these (without any: when it is an error)."""
        wanted = self.status in statuses if statuses else self.good
        assert wanted, f"the API server answered {self.status}: {self.faults or self.body}"
        return self.body


@dataclass(frozen=True)
class Kind:
    """Where objects of a kind are, as discovery says."""

    group_version: str
    plural: str
    namespaced: bool
    facts: Json = field(default=None, compare=False)

    def path(self, namespace: str, name: str = "") -> str:
        root = "/api/v1" if self.group_version == "v1" else f"/apis/{self.group_version}"
        place = f"{root}/namespaces/{namespace}/{self.plural}" if self.namespaced else f"{root}/{self.plural}"
        return f"{place}/{name}" if name else place


class Kubernetes:
    """The API as one user. `namespace` is where everything namespaced is looked for."""

    def __init__(self, kubeconfig: Path, namespace: str = "") -> None:
        self.file = kubeconfig
        self.access = from_kubeconfig(kubeconfig)
        self.namespace = namespace or self.access.namespace
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._client = httpx.Client(
            base_url=self.access.server, verify=self.access.tls(), timeout=30, trust_env=False, follow_redirects=False
        )

    def close(self) -> None:
        self._client.close()

    def within(self, namespace: str) -> Kubernetes:
        """The same user in another namespace."""
        return Kubernetes(self.file, namespace)

    def acting(self, token: str, file: Path) -> Kubernetes:
        """Whoever this token belongs to, in the same namespace. Its kubeconfig is written to `file`."""
        config = yaml.safe_load(self.file.read_text())
        context = next(one["context"] for one in config["contexts"] if one["name"] == config["current-context"])
        cluster = next(dict(one["cluster"]) for one in config["clusters"] if one["name"] == context["cluster"])
        if "certificate-authority" in cluster:
            cluster["certificate-authority"] = str(self.file.parent / cluster["certificate-authority"])
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "contexts": [{"name": "tests", "context": {"cluster": "c", "user": "u", "namespace": self.namespace}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
        file.touch(0o600)
        file.write_text(yaml.safe_dump(content))
        return Kubernetes(file, self.namespace)

    def _headers(self) -> dict[str, str]:
        token = self.access.token()
        return {"authorization": f"Bearer {token}"} if token else {}

    def request(
        self, method: str, path: str, *, body: Json = None, kind: str = "application/json", accept: str = "application/json", **query: Any
    ) -> Answer:  # fmt: skip
        """One request. Whatever the answer is, it is returned; only a connection that fails raises."""
        headers = {"accept": accept} | self._headers()
        content = None
        if body is not None:
            headers["content-type"] = kind
            content = json.dumps(body)
        params = {name: value for name, value in query.items() if value is not None}
        answer = self._client.request(method, path, content=content, headers=headers, params=params)
        try:
            found = answer.json()
        except ValueError:
            found = answer.text
        return Answer(answer.status_code, found, tuple(answer.headers.get_list("warning")))

    def kind(self, group_version: str, kind: str) -> Kind:
        """Look a kind up."""
        key = (group_version, kind)
        if key not in self._kinds:
            for name, facts in self.discover(group_version).items():
                self._kinds[group_version, name] = Kind(group_version, facts["name"], facts["namespaced"], facts)
        assert key in self._kinds, f"the API server has no {kind} in {group_version}"
        return self._kinds[key]

    def discover(self, group_version: str) -> dict[str, Json]:
        """What discovery says of each kind of a group, without subresources."""
        root = "/api/v1" if group_version == "v1" else f"/apis/{group_version}"
        answer = self.request("GET", root)
        if answer.status == 404:
            return {}
        return {one["kind"]: one for one in answer.expect()["resources"] if "/" not in one["name"]}

    def knows(self, group_version: str, kind: str) -> bool:
        """Whether there is such a kind."""
        return kind in self.discover(group_version)

    def _path(self, document: Json, *, named: bool) -> str:
        kind = self.kind(document["apiVersion"], document["kind"])
        metadata = document["metadata"]
        return kind.path(metadata.get("namespace", self.namespace), metadata["name"] if named else "")

    def create(self, document: Json, **query: Any) -> Answer:
        """POST, judged strictly: unknown and repeated fields are faults."""
        told = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"} | query
        return self.request("POST", self._path(document, named=False), body=document, **told)

    def apply(self, document: Json, **query: Any) -> Answer:
        """Server-side apply, judged strictly."""
        told = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"} | query
        return self.request("PATCH", self._path(document, named=True), body=document, kind=_APPLY, **told)

    def replace(self, document: Json, **query: Any) -> Answer:
        """PUT."""
        told = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"} | query
        return self.request("PUT", self._path(document, named=True), body=document, **told)

    def patch(self, kind: Kind, name: str, change: Json, subresource: str = "", **query: Any) -> Answer:
        """Merge patch."""
        path = kind.path(self.namespace, name) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", path, body=change, kind=_MERGE, fieldManager=FIELD_MANAGER, **query)

    def read(self, kind: Kind, name: str) -> Answer:
        return self.request("GET", kind.path(self.namespace, name))

    def get(self, kind: Kind, name: str) -> Json:
        """The object, or None when there is none."""
        answer = self.read(kind, name)
        return None if answer.status == 404 else answer.expect()

    def list(self, kind: Kind, **query: Any) -> list[Json]:
        return list(self.request("GET", kind.path(self.namespace), **query).expect()["items"])

    def table(self, kind: Kind, **query: Any) -> Json:
        """What `kubectl get` prints."""
        return self.request("GET", kind.path(self.namespace), accept=_TABLE, **query).expect()

    def delete(self, kind: Kind, name: str, **query: Any) -> Answer:
        return self.request("DELETE", kind.path(self.namespace, name), **query)

    def secret(self, name: str) -> dict[str, bytes] | None:
        """A Secret's data, decoded; None when there is none."""
        found = self.get(SECRET, name)
        if found is None:
            return None
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    def token_of(self, service_account: str, seconds: int = 7200) -> str:
        """A token of a ServiceAccount, as a pod would have it."""
        path = f"{SERVICE_ACCOUNT.path(self.namespace, service_account)}/token"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        return str(self.request("POST", path, body=body).expect()["status"]["token"])

    @contextmanager
    def watching(self, kind: Kind, seconds: float, **query: Any) -> Iterator[Iterator[Json]]:
        """An open watch, as an iterator of events that ends after so many seconds."""
        params = {"watch": "true", "timeoutSeconds": max(1, int(seconds))} | query
        path = kind.path(self.namespace)
        with self._client.stream("GET", path, params=params, headers=self._headers(), timeout=seconds + 10) as answer:
            if answer.status_code != 200:
                answer.read()
                raise AssertionError(f"the watch was answered {answer.status_code}: {answer.text}")
            yield (json.loads(line) for line in answer.iter_lines() if line)


SECRET = Kind("v1", "secrets", namespaced=True)
SERVICE_ACCOUNT = Kind("v1", "serviceaccounts", namespaced=True)
EVENT = Kind("v1", "events", namespaced=True)
POD = Kind("v1", "pods", namespaced=True)
NODE = Kind("v1", "nodes", namespaced=False)
LEASE = Kind("coordination.k8s.io/v1", "leases", namespaced=True)
NAMESPACE = Kind("v1", "namespaces", namespaced=False)
CRD = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False)
ACCOUNT = Kind(GROUP_VERSION, "upstreamaccounts", namespaced=True)
MODEL = Kind(GROUP_VERSION, "models", namespaced=True)
PLAN = Kind(GROUP_VERSION, "plans", namespaced=True)
API_KEY = Kind(GROUP_VERSION, "apikeys", namespaced=True)
OURS: Mapping[str, Kind] = {"UpstreamAccount": ACCOUNT, "Model": MODEL, "Plan": PLAN, "APIKey": API_KEY}


def eventually(
    what: str,
    holds: Callable[[], Any],
    seconds: float = 60.0,
    pause: float = 0.1,
    seen: Callable[[], Any] | None = None,
) -> Any:
    """Wait until `holds()` is truthy and return it. Fails with `what` and with what was seen last."""
    started = time.monotonic()
    value: Any = None
    trouble: BaseException | None = None
    while True:
        try:
            value, trouble = holds(), None
            if value:
                return value
        except (httpx.TransportError, AssertionError) as error:
            trouble = error
        if time.monotonic() - started >= seconds:
            last = seen() if seen is not None else trouble or value
            raise AssertionError(f"not within {seconds:.0f} s: {what}; last seen: {last}") from trouble
        time.sleep(pause)
