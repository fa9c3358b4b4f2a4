"""Objects of the cluster into typed resources. What cannot be read is a fault of that object alone. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from penstock_catalog import reader
from penstock_catalog.problems import InvalidResources, Place
from penstock_catalog.resources import Resource, Secret, UpstreamAccount
from penstock_operator.ownership import is_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock_catalog.problems import Problem
    from penstock_operator.cluster import Object

_READ_METADATA: Final = ("name", "namespace", "uid", "generation", "creationTimestamp")
_UNREADABLE: Final = "\x00"
_MOST_PROBLEMS: Final = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """What objects say. `faults` has, by `Kind/name`, why the others cannot be understood."""

    resources: tuple[Resource, ...]
    faults: Mapping[str, str]


@dataclass(slots=True)
class Reader:
    """Reads objects, and what it has read before not again."""

    _known: dict[str, tuple[Object, Resource | str]] = field(default_factory=dict)

    def read(self, objects: Iterable[Object], secrets: Mapping[str, Object]) -> Reading:
        """Read all objects of our kinds, and the Secrets that accounts refer to. Those being deleted are gone."""
        resources: list[Resource] = []
        faults: dict[str, str] = {}
        known: dict[str, tuple[Object, Resource | str]] = {}
        for item in objects:
            if item["metadata"].get("deletionTimestamp"):
                continue
            name = id_of(item)
            held = self._known.get(name)
            said = held[1] if held is not None and held[0] is item else _read(item)
            known[name] = (item, said)
            if isinstance(said, str):
                faults[name] = said
            else:
                resources.append(said)
        self._known = known
        resources += _secrets(resources, secrets)
        return Reading(tuple(resources), faults)


def id_of(item: Object) -> str:
    """Return `Kind/name`."""
    return f"{item['kind']}/{item['metadata']['name']}"


def _read(item: Object) -> Resource | str:
    metadata: dict[str, Any] = {name: item["metadata"][name] for name in _READ_METADATA if name in item["metadata"]}
    content: dict[str, Any] = {name: item[name] for name in ("apiVersion", "kind", "spec") if name in item}
    try:
        return reader.read_object({**content, "metadata": metadata}, Place(id_of(item)))[0]
    except InvalidResources as error:
        return _in_words(error.problems)


def _in_words(problems: Iterable[Problem]) -> str:
    said = [f"{problem.field} {problem.message}".strip() for problem in problems]
    more = f"; and {len(said) - _MOST_PROBLEMS} more" if len(said) > _MOST_PROBLEMS else ""
    return "; ".join(said[:_MOST_PROBLEMS]) + more


def _secrets(resources: Iterable[Resource], secrets: Mapping[str, Object]) -> list[Secret]:
    names = {
        resource.spec.auth.api_key.secret_ref.name
        for resource in resources
        if isinstance(resource, UpstreamAccount) and resource.spec.auth.api_key is not None
    }
    return [
        Secret(name=name, place=Place(f"Secret/{name}"), values=_readable(secrets[name]))
        for name in sorted(names & secrets.keys())
    ]


def _readable(secret: Object) -> dict[str, str]:
    """Return what an account may use: of the processes' own Secrets nothing."""
    return {} if is_private(secret) else _values(secret.get("data"))


def _values(data: Any) -> dict[str, str]:
    """Decode a Secret's entries. One that is no text is given as what no header can carry, which the compiler tells."""
    return {str(key): _text(value) for key, value in data.items()} if isinstance(data, dict) else {}


def _text(value: object) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, ValueError):
        return _UNREADABLE
