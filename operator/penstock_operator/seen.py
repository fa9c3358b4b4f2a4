"""All objects of the namespace as last seen: lists say what there is, events what has changed since.

Nothing depends on an event having arrived: every list puts right what is wrong. Older news never replaces newer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from penstock_catalog.shards import PAYLOAD
from penstock_operator.kinds import CUSTOM, SECRET, WATCHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from penstock_operator.cluster import Listing, Object
    from penstock_operator.kinds import Kind

_KEPT_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
)
_DROPPED_ANNOTATIONS: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
# Releases of Helm are large, and tokens are nobody's business.
_PASSED_OVER: Final = frozenset({"helm.sh/release.v1", "kubernetes.io/service-account-token"})


class Seen:
    """The objects by kind and name. `wake` is called when a decision may have to change."""

    def __init__(self, published: Iterable[str], wake: Callable[[], None]) -> None:
        self.revision = 0
        """Counts the changes of anything that decisions are made of; a status is not."""
        self._published = frozenset(published)
        self._wake = wake
        self._objects: dict[Kind, dict[str, Object]] = {kind: {} for kind in WATCHED}
        self._digests: dict[str, tuple[int, str]] = {}
        self._gone: dict[tuple[Kind, str], int] = {}
        self._listed: dict[Kind, int] = {}

    @property
    def complete(self) -> bool:
        """Whether every kind has been listed: before that, nothing may be concluded from an absence."""
        return self._listed.keys() == set(WATCHED)

    def of(self, kind: Kind) -> Mapping[str, Object]:
        """Return all objects of a kind, by name. They must not be changed."""
        return self._objects[kind]

    def digest(self, name: str) -> str:
        """Return the digest of what a catalog's Secret holds; "" when there is none."""
        return self._digests.get(name, (0, ""))[1]

    def replace(self, kind: Kind, listing: Listing) -> None:
        """Take in a list: what it does not name is gone, unless it is younger than the list."""
        version = _number(listing.resource_version)
        if version < self._listed.get(kind, 0):
            self._forget(kind)
        names = {str(_metadata(item).get("name", "")) for item in listing.objects}
        for item in listing.objects:
            self.put(kind, item)
        for name, known in list(self._objects[kind].items()):
            if name not in names and _version(known) <= version:
                self._drop(kind, name)
        if kind is SECRET:
            for name in [name for name, (at, _) in self._digests.items() if name not in names and at <= version]:
                del self._digests[name]
                self._wake()
        self._gone = {key: at for key, at in self._gone.items() if key[0] is not kind or at > version}
        first = kind not in self._listed
        self._listed[kind] = version
        if first:
            self._changed()

    def put(self, kind: Kind, item: Object, *, quiet: bool = False) -> None:
        """Take in an object as an event, a list or the answer to a write (which wakes nobody: `quiet`) shows it."""
        name, version = str(_metadata(item).get("name", "")), _version(item)
        if not name or version <= self._gone.get((kind, name), -1):
            return
        if kind is SECRET and name in self._published:
            if self._put_digest(name, version, item) and not quiet:
                self._wake()
            return
        if kind is SECRET and item.get("type") in _PASSED_OVER:
            return
        known = self._objects[kind].get(name)
        if known is not None and version < _version(known):
            return
        slim = _slim(item)
        self._objects[kind][name] = slim
        # What is of no interest changes the version, too, without which no status can be written.
        if known is None or _essence(known) != _essence(slim):
            self.revision += 1
        elif known.get("status") == slim.get("status") and (kind is SECRET or version == _version(known)):
            return
        if not quiet:
            self._wake()

    def remove(self, kind: Kind, item: Object) -> None:
        """Take in that an object has been deleted; `item` is how it last was."""
        name, version = str(_metadata(item).get("name", "")), _version(item)
        self._gone[(kind, name)] = max(version, self._gone.get((kind, name), -1))
        if kind is SECRET and name in self._published:
            if name in self._digests and self._digests[name][0] <= version:
                del self._digests[name]
                self._wake()
            return
        known = self._objects[kind].get(name)
        if known is not None and (_uid(known) == _uid(item) or _version(known) <= version):
            self._drop(kind, name)

    def counts(self) -> dict[str, int]:
        """Return how many objects of each of our kinds there are."""
        return dict(Counter({kind.name: len(self._objects[kind]) for kind in CUSTOM}))

    def _forget(self, kind: Kind) -> None:
        """Forget a kind whose versions have gone back: somebody has put a backup in the place of the API's store."""
        self._objects[kind].clear()
        self._gone = {key: at for key, at in self._gone.items() if key[0] is not kind}
        if kind is SECRET:
            self._digests.clear()
        self._changed()

    def _drop(self, kind: Kind, name: str) -> None:
        del self._objects[kind][name]
        self._changed()

    def _put_digest(self, name: str, version: int, item: Object) -> bool:
        at, known = self._digests.get(name, (-1, ""))
        if version < at:
            return False
        digest = _payload_digest(item)
        self._digests[name] = (version, digest)
        return digest != known

    def _changed(self) -> None:
        self.revision += 1
        self._wake()


def _slim(item: Object) -> Object:
    """Return what decisions are made of. Managed fields would be the most of an object."""
    metadata = _metadata(item)
    kept = {field: metadata[field] for field in _KEPT_METADATA if metadata.get(field) is not None}
    annotations = kept.get("annotations")
    if isinstance(annotations, dict):
        kept["annotations"] = {key: text for key, text in annotations.items() if key not in _DROPPED_ANNOTATIONS}
    kept = {field: value for field, value in kept.items() if value not in ({}, [])}
    rest = {field: value for field, value in item.items() if field != "metadata"}
    return {**rest, "metadata": kept}


def _essence(item: Object) -> dict[str, Any]:
    """Return all but what changes with every write of a status."""
    kept = {field: value for field, value in item.items() if field not in {"status", "metadata"}}
    metadata = {field: value for field, value in item["metadata"].items() if field != "resourceVersion"}
    return {**kept, "metadata": metadata}


def _payload_digest(item: Object) -> str:
    data = item.get("data")
    encoded = data.get(PAYLOAD) if isinstance(data, dict) else None
    try:
        return hashlib.sha256(base64.b64decode(encoded, validate=True)).hexdigest() if encoded else ""
    except (binascii.Error, TypeError, ValueError):
        return ""


def _metadata(item: Object) -> dict[str, Any]:
    metadata = item.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _uid(item: Object) -> str:
    return str(_metadata(item).get("uid", ""))


def _version(item: Object) -> int:
    return _number(str(_metadata(item).get("resourceVersion", "")))


def _number(version: str) -> int:
    """Return a resource version as a number, as which the API orders them; 0 for one that is none."""
    return int(version) if version.isdecimal() else 0
