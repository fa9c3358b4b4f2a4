"""Pods of ours for one piece of work: run to their end, and what they printed."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from tests.cluster.conftest import Pods, patience
from tests.cluster.kubernetes import POD, Kubernetes, eventually

Json = Any
CLIENT = (Path(__file__).parent / "client_in_cluster.py").read_text()
_ENDED = ("Succeeded", "Failed")


class Work:
    """A pod that runs the client."""

    def __init__(self, inside: Kubernetes, pods: Pods, **told: str) -> None:
        self.api = inside
        self.name = f"client-{secrets.token_hex(3)}"
        inside.create(self._pod(pods, told)).expect()

    def _pod(self, pods: Pods, told: dict[str, str]) -> Json:
        quiet = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = {
            "name": "client",
            "image": pods.image,
            "imagePullPolicy": pods.pull_policy,
            "command": ["/opt/penstock/bin/python", "-u", "-c", CLIENT],
            "env": [{"name": name, "value": value} for name, value in told.items()],
            "securityContext": quiet,
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "labels": {"app.kubernetes.io/name": "penstock-test-client"}},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 1,
                "securityContext": {"runAsUser": 10001, "runAsGroup": 10001},
                "containers": [container],
            },
        }

    def _phase(self) -> str:
        return str((self.api.read(POD, self.name).expect().get("status") or {}).get("phase", ""))

    def log(self) -> str:
        found = self.api.request("GET", f"{POD.path(self.api.namespace, self.name)}/log")
        return found.body if isinstance(found.body, str) else json.dumps(found.body)

    def await_start(self) -> None:
        eventually("the client runs", lambda: "begun" in self.log(), patience(90), seen=self._seen)

    def result(self, seconds: float = 120) -> Json:
        """Wait for its end and return what it says of its requests."""
        eventually(
            "the client has ended", lambda: self._phase() in _ENDED, patience(seconds), pause=0.5, seen=self._seen
        )
        lines = self.log().strip().splitlines()
        assert self._phase() == "Succeeded", lines[-20:]
        return json.loads(lines[-1])

    def _seen(self) -> Any:
        return (self.api.read(POD, self.name).body.get("status"), self.log()[-500:])


def assert_all_good(done: Json) -> None:
    assert done["sent"] > 0
    assert done["good"] == done["sent"], done
