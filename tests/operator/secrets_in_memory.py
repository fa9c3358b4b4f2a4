"""Secrets as the API server keeps them: versions, uids, merge patches, types that cannot change; and failures."""

import asyncio
import base64
import copy
import itertools
from collections.abc import Mapping
from typing import Any

from penstock_operator.cluster import ClusterError, ConflictError, NotFoundError, RefusedError


class SecretsInMemory:
    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.writes: list[tuple[str, str]] = []
        self.writes_left: int | None = None
        """After so many writes the operator dies."""
        self.refused: set[str] = set()
        self.down = False
        self.before_write = None
        """Called once before the next write, as what another operator does meanwhile."""
        self._version = itertools.count(100)

    async def get_secret(self, name: str) -> dict[str, Any] | None:
        await asyncio.sleep(0)
        if self.down:
            raise ClusterError("no answer")
        found = self.secrets.get(name)
        return copy.deepcopy(found)

    async def create_secret(self, body: Mapping[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        name = body["metadata"]["name"]
        self._begin("create", name)
        if name in self.secrets:
            raise ConflictError(f"{name} exists")
        return self._put(name, {**copy.deepcopy(dict(body)), "metadata": {**body["metadata"], "uid": f"uid-{next(self._version)}"}})  # fmt: skip

    async def patch_secret(self, name: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        self._begin("patch", name)
        held = self.secrets.get(name)
        if held is None:
            raise NotFoundError(name)
        for key in ("uid", "resourceVersion"):
            if patch["metadata"].get(key, held["metadata"][key]) != held["metadata"][key]:
                raise ConflictError(f"{name} has another {key}")
        merged = _merged(held, patch)
        if merged.get("type") != held.get("type") or (held.get("immutable") and merged["data"] != held["data"]):
            raise RefusedError("field is immutable")
        return self._put(name, merged)

    async def delete_secret(self, name: str, *, uid: str = "") -> None:
        await asyncio.sleep(0)
        self._begin("delete", name)
        if uid and name in self.secrets and self.secrets[name]["metadata"]["uid"] != uid:
            raise ConflictError(f"{name} has another uid")
        self.secrets.pop(name, None)

    def put(self, name: str, data: Mapping[str, bytes], *, labels=None, annotations=None, kind: str = "kubernetes.io/tls") -> None:  # fmt: skip
        """As another writer does it."""
        metadata = {"name": name, "uid": f"uid-{next(self._version)}", "labels": labels or {}, "annotations": annotations or {}}  # fmt: skip
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        self._put(name, {"metadata": metadata, "type": kind, "data": encoded})

    def data(self, name: str) -> dict[str, bytes]:
        return {key: base64.b64decode(value) for key, value in self.secrets[name]["data"].items()}

    def change(self, name: str, **data: bytes | None) -> None:
        """Change or take away (None) values, `tls_key` for `tls.key`, as a person does it."""
        held = self.secrets[name]
        for key, value in data.items():
            if value is None:
                held["data"].pop(key.replace("_", "."), None)
            else:
                held["data"][key.replace("_", ".")] = base64.b64encode(value).decode()
        self._put(name, held)

    def annotate(self, name: str, **annotations: str | None) -> None:
        """`rotate` for `penstock.dev/rotate`."""
        held = self.secrets[name]
        notes = held["metadata"].setdefault("annotations", {})
        for key, value in annotations.items():
            full = f"penstock.dev/{key.replace('_', '-')}"
            notes.pop(full, None)
            if value is not None:
                notes[full] = value
        self._put(name, held)

    def _begin(self, verb: str, name: str) -> None:
        if self.down:
            raise ClusterError("no answer")
        if self.before_write is not None:
            meanwhile, self.before_write = self.before_write, None
            meanwhile()
        if name in self.refused:
            raise RefusedError(f"{verb} {name} is forbidden")
        if self.writes_left is not None:
            if self.writes_left <= 0:
                raise ClusterError("the operator died")
            self.writes_left -= 1
        self.writes.append((verb, name))

    def _put(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        body["metadata"]["resourceVersion"] = str(next(self._version))
        self.secrets[name] = body
        return copy.deepcopy(body)


def _merged(held: Any, patch: Any) -> Any:
    if not isinstance(held, dict) or not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(held)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(held.get(key, {} if isinstance(value, Mapping) else None), value)
    return result
