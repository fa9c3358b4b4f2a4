"""The custom resources' definitions, and the table of good and bad specs beside them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock_catalog import reader
from penstock_catalog.resources import GROUP_VERSION

ROOT = Path(__file__).parents[2]
DEFINITIONS = ROOT / "charts" / "penstock" / "files" / "crds"
CASES = Path(__file__).parent / "crds"

Json = Any


def _definitions() -> dict[str, Json]:
    found = [reader.plain(path.read_text()) for path in sorted(DEFINITIONS.glob("*.yaml"))]
    return {definition["spec"]["names"]["kind"]: definition for definition in found}


CRDS: Mapping[str, Json] = _definitions()
"""Each kind's definition."""

SCHEMAS: Mapping[str, Json] = {
    kind: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind, crd in CRDS.items()
}
"""Each kind's structural schema."""


@dataclass(frozen=True)
class Case:
    """A spec, what it was before, and what either side says of it; "" where it says nothing."""

    kind: str
    name: str
    spec: Json
    before: Json = None
    cluster: str = ""
    local: str = ""

    @property
    def document(self) -> Json:
        """The whole resource, fit for `kubectl apply`."""
        return document(self.kind, self.spec)

    def __str__(self) -> str:
        """Its name in a test run."""
        return f"{self.kind}: {self.name}"


def document(kind: str, spec: Json) -> Json:
    """A resource of this kind and spec."""
    return {"apiVersion": GROUP_VERSION, "kind": kind, "metadata": {"name": "example"}, "spec": spec}


def cases(group: str) -> list[Case]:
    """All cases of `good`, `bad` or `changes`."""
    return [case for path in sorted(CASES.glob("*.yaml")) for case in _cases_of(path, group)]


def _cases_of(path: Path, group: str) -> Iterator[Case]:
    table = reader.plain(path.read_text())
    for row in table[group]:
        if group == "changes":
            yield Case(table["kind"], row["case"], row["to"], row["from"], row.get("cluster", ""))
        else:
            yield Case(table["kind"], row["case"], row["spec"], None, row.get("cluster", ""), row.get("local", ""))


def said(expected: str, answers: list[str]) -> bool:
    """Whether an API server's answers hold the expected one: its field, and a part of its message."""
    field, colon, message = expected.partition(": ")
    if not colon:
        return any(expected in answer for answer in answers)
    return any(answer.startswith(f"{field}: ") and message in answer for answer in answers)
