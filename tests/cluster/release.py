"""The chart on a cluster: by helm, or as single documents."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.chart.rendering import program
from tests.cluster.kubernetes import Kubernetes

Json = Any
ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "penstock"
RELEASE = "gate"
"""The release's name in tests."""


class Helm:
    """helm, as the kubeconfig's user, in one namespace. `settings` and `files` go to every install and upgrade."""

    def __init__(
        self, cluster: Kubernetes, settings: Sequence[str] = (), release: str = RELEASE, files: Sequence[Path] = ()
    ) -> None:
        self.cluster = cluster
        self.files = list(files)
        self.settings = list(settings)
        self.release = release
        self.fullname = release if "penstock" in release else f"{release}-penstock"

    def run(self, *arguments: str, good: bool = True, seconds: float = 900) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        with tempfile.TemporaryDirectory(prefix="penstock-helm-") as folder:
            known = {"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"}
            environment = dict(os.environ) | dict.fromkeys(known, folder) | {"KUBECONFIG": str(self.cluster.file)}
            done = subprocess.run(
                [program(), "--namespace", self.cluster.namespace, *arguments],
                capture_output=True,
                text=True,
                env=environment,
                timeout=seconds,
                check=False,
            )
        if good:
            assert done.returncode == 0, (
                f"helm {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}\n{done.stdout[-2000:]}"
            )
        return done

    def _values(self, settings: Sequence[str], files: Sequence[Path]) -> list[str]:
        told = [word for file in (*self.files, *files) for word in ("--values", str(file))]
        for setting in (*self.settings, *settings):
            told += ["--set", setting]
        return told

    def template(self, *settings: str, files: Sequence[Path] = (), arguments: Sequence[str] = ()) -> list[Json]:
        """What the chart makes of these values, for this cluster's version."""
        version = self.cluster.request("GET", "/version").expect()["gitVersion"].partition("+")[0]
        done = self.run(
            "template", self.release, str(CHART), "--kube-version", version, *arguments, *self._values(settings, files)
        )
        return documents(done.stdout)

    def install(
        self, *settings: str, files: Sequence[Path] = (), arguments: Sequence[str] = (), good: bool = True
    ) -> Any:
        return self.run("install", self.release, str(CHART), *arguments, *self._values(settings, files), good=good)

    def upgrade(
        self, *settings: str, files: Sequence[Path] = (), arguments: Sequence[str] = (), good: bool = True
    ) -> Any:
        return self.run("upgrade", self.release, str(CHART), *arguments, *self._values(settings, files), good=good)

    def rollback(self, revision: int, *arguments: str) -> Any:
        return self.run("rollback", self.release, str(revision), *arguments)

    def uninstall(self, *arguments: str, good: bool = True) -> Any:
        return self.run("uninstall", self.release, *arguments, good=good)

    def manifest(self) -> list[Json]:
        """The objects of the release in force."""
        return documents(self.run("get", "manifest", self.release).stdout)

    def status(self) -> Json:
        return json.loads(self.run("status", self.release, "--output", "json").stdout)


def documents(text: str) -> list[Json]:
    """The documents of a YAML stream."""
    return [one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]


def supported(cluster: Kubernetes, document: Json) -> bool:
    """Whether the cluster knows this kind at all (ServiceMonitor and such come from elsewhere)."""
    return cluster.knows(document["apiVersion"], document["kind"])


def of_kinds(found: Sequence[Json], *kinds: str) -> list[Json]:
    return [one for one in found if one["kind"] in kinds]


def apply_access(cluster: Kubernetes, found: Sequence[Json]) -> None:
    """The ServiceAccounts of the chart and what they may do, and nothing else of it."""
    for kind in ("ServiceAccount", "Role", "RoleBinding"):
        for document in of_kinds(found, kind):
            cluster.apply(document).expect()


def readable(name: str) -> str:
    """A name as a file's name."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", name)
