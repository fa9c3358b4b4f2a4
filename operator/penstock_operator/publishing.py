"""Writes a catalog into its Secrets: what differs and nothing else, the head last.

What was half written by an operator before us is found at the start: which credentials it had decided to put in force,
and, if it is whole, which version everybody has.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from typing import TYPE_CHECKING, Any, Final, Generic

from penstock_catalog import shards
from penstock_catalog.documents import AnyDocument, DocumentError
from penstock_catalog.shards import PAYLOAD, TooLargeError
from penstock_chassis import logs
from penstock_operator import metrics
from penstock_operator.cluster import ClusterError, ConflictError, NotFoundError
from penstock_operator.kinds import SECRET
from penstock_operator.ownership import labels

if TYPE_CHECKING:
    from penstock_operator.cluster import Object, SecretApi
    from penstock_operator.seen import Seen

log = logs.get(__name__)

_COMPONENT: Final = "catalog"


class Publisher(Generic[AnyDocument]):
    """One catalog's Secrets."""

    def __init__(self, secrets: SecretApi, seen: Seen, prefix: str, kind: type[AnyDocument], release: str) -> None:
        self._secrets = secrets
        self._seen = seen
        self._prefix = prefix
        self._kind = kind
        self._release = release
        self._digests: dict[str, str] = {}
        self.version = ""
        """What stands in the Secrets, as far as it is known to be whole."""

    async def recover(self) -> AnyDocument:
        """Return what has been published: whole, and then `version` says so, or what can be made out of its shards.

        Raises ClusterError.
        """
        names = shards.secret_names(self._prefix)
        found = await asyncio.gather(*(self._secrets.get_secret(name) for name in names))
        payloads = {name: _payload(secret) for name, secret in zip(names, found, strict=True)}
        document = await asyncio.to_thread(self._joined, payloads)
        if document is not None:
            self.version = document.version
            self._digests = {name: shards.digest(payload) for name, payload in payloads.items() if payload is not None}
            return document
        return await asyncio.to_thread(self._salvaged, payloads)

    def fit(self, document: AnyDocument) -> tuple[AnyDocument, dict[tuple[str, str], str], dict[str, bytes]]:
        """Split a document, without the entries that make it too large for its Secrets, and say which and why.

        Returns the document that is left, the reasons by field and name, and what each Secret is to hold.
        """
        left_out: dict[tuple[str, str], str] = {}
        while True:
            try:
                return document, left_out, shards.split(document).payloads(self._prefix)
            except TooLargeError as error:
                field, name = error.entry
                left_out[error.entry] = str(error)
                kept = tuple(entry for entry in getattr(document, field) if entry.name != name)
                document = document.model_copy(update={field: kept}).sealed()

    def stands(self, version: str) -> bool:
        """Whether this version is what the Secrets hold, as last seen."""
        return self.version == version and all(self._seen.digest(name) == it for name, it in self._digests.items())

    async def publish(self, version: str, payloads: dict[str, bytes]) -> None:
        """Write what differs. Raises ClusterError; what has been written by then need not be written again."""
        digests = {name: shards.digest(payload) for name, payload in payloads.items()}
        head = shards.head_name(self._prefix)
        changed = [name for name, digest in digests.items() if self._seen.digest(name) != digest]
        await _all(self._write(name, payloads[name]) for name in changed if name != head)
        if head in changed:
            await self._write(head, payloads[head])
        if self.version != version or changed:
            log.info("catalog_published", catalog=self._prefix, version=version, secrets=len(changed))
            metrics.CATALOG_VERSION_TIME.labels(self._kind.kind).set(time.time())
        self.version, self._digests = version, digests

    async def _write(self, name: str, payload: bytes) -> None:
        data = {PAYLOAD: base64.b64encode(payload).decode("ascii")}
        try:
            written = await self._patch_or_create(name, data)
        except ClusterError:
            metrics.WRITES.labels("catalog", "failed").inc()
            raise
        metrics.WRITES.labels("catalog", "ok").inc()
        self._seen.put(SECRET, written, quiet=True)

    async def _patch_or_create(self, name: str, data: dict[str, str]) -> Object:
        if self._seen.digest(name):
            try:
                return await self._secrets.patch_secret(name, {"data": data})
            except NotFoundError:
                pass
        marks = labels(self._release, _COMPONENT)
        try:
            return await self._secrets.create_secret(
                {"metadata": {"name": name, "labels": marks}, "type": "Opaque", "data": data}
            )
        except ConflictError:
            return await self._secrets.patch_secret(name, {"metadata": {"labels": marks}, "data": data})

    def _joined(self, payloads: dict[str, bytes | None]) -> AnyDocument | None:
        name = shards.head_name(self._prefix)
        written = payloads[name]
        if written is None:
            return None
        try:
            head = shards.read_head(written, self._kind, name)
            parts = [payloads.get(shards.shard_name(self._prefix, index)) for index in range(len(head.shards))]
            return shards.join(head, parts, self._kind, self._prefix)
        except DocumentError as error:
            log.warning("catalog_not_whole", reason=str(error))
            return None

    def _salvaged(self, payloads: dict[str, bytes | None]) -> AnyDocument:
        fields: dict[str, list[Any]] = {}
        for name, payload in payloads.items():
            if payload is None or name == shards.head_name(self._prefix):
                continue
            try:
                part = shards.salvaged(payload, self._kind, name)
            except DocumentError as error:
                log.warning("shard_unusable", reason=str(error))
                continue
            for field in ("accounts", "models", "plans", "api_keys"):
                fields.setdefault(field, []).extend(getattr(part, field, ()))
        known: dict[str, Any] = {
            field: tuple(listed) for field, listed in fields.items() if field in self._kind.model_fields
        }
        return self._kind(**known)


async def _all(writes: Any) -> None:
    """Do all of them, and then raise the first failure."""
    results = await asyncio.gather(*writes, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _payload(secret: Object | None) -> bytes | None:
    data = secret.get("data") if secret is not None else None
    try:
        return base64.b64decode(data[PAYLOAD], validate=True) if isinstance(data, dict) and PAYLOAD in data else None
    except (binascii.Error, TypeError, ValueError):
        return None
