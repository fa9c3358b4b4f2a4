"""A compiled document as a fixed set of Secrets: a head that names the digest of every shard, and the shards.

An entry's shard follows from its kind and name, so that one changed object changes one shard and the head. The bytes
follow from the document alone, so that a publisher writes what changed and nothing else. Shards join only under a head
that names exactly them: two versions never mix.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penstock_catalog import documents
from penstock_catalog.documents import AnyDocument, Document, DocumentError

SHARDS = 16
"""How many shards a publisher makes. Every Secret is named in RBAC, so that the number is fixed."""

PAYLOAD = "payload"
"""The key below a Secret's `data`."""

MAX_BYTES = 1_000_000
"""The most that one Secret is given: Kubernetes takes 1,048,576 bytes, and a little room costs nothing."""

_MAX_PLAIN_BYTES = 32_000_000
_GZIP = 31

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Entry = dict[str, Any]


class ShardError(DocumentError):
    """A document cannot be split, or shards cannot be joined. The message has names and sizes, never content."""


class TooLargeError(ShardError):
    """A shard does not fit into a Secret. `entry` is the largest in it: its field, such as `accounts`, and its name."""

    def __init__(self, message: str, entry: tuple[str, str]) -> None:
        super().__init__(message)
        self.entry = entry


class UnfitShardsError(ShardError):
    """Shards are missing or are not those that the head names: a publication under way, or damage."""


class Head(BaseModel):
    """What must be true of the shards. `fields` are the document's own facts, beside its version and its entries."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format: Literal[1] = 1
    kind: str
    version: str
    fields: dict[str, int | str | None]
    shards: tuple[_Digest, ...] = Field(min_length=1, max_length=99)


@dataclass(frozen=True, slots=True)
class Parts:
    """A split document: what the Secrets hold."""

    head: bytes
    shards: tuple[bytes, ...]

    def payloads(self, prefix: str) -> dict[str, bytes]:
        """Return what each Secret holds under `PAYLOAD`, by name and in the order to write: the head comes last."""
        return {
            **{shard_name(prefix, index): shard for index, shard in enumerate(self.shards)},
            head_name(prefix): self.head,
        }


def head_name(prefix: str) -> str:
    """Name the head's Secret."""
    return f"{prefix}-head"


def shard_name(prefix: str, index: int) -> str:
    """Name a shard's Secret."""
    return f"{prefix}-{index:02d}"


def secret_names(prefix: str, count: int = SHARDS) -> tuple[str, ...]:
    """Name all Secrets of a document: what a role has to name."""
    return (head_name(prefix), *(shard_name(prefix, index) for index in range(count)))


def digest(payload: bytes) -> str:
    """Return what a head says of this shard."""
    return hashlib.sha256(payload).hexdigest()


def split(document: Document, count: int = SHARDS) -> Parts:
    """Split a sealed document as the compiler makes them. `ShardError` when a part is too large for a Secret."""
    if document.version != document.sealed().version:
        raise ShardError(f"{document.kind}: its version is not the digest of its content; seal it first")
    content = document.model_dump(mode="json")
    entries = {field: value for field, value in content.items() if isinstance(value, list)}
    for field, listed in entries.items():
        if _in_order(field, listed) != listed:
            raise ShardError(f"{document.kind}: its {field} are not in the order that the compiler gives them")
    plain = _plain(document.kind, entries, count)
    shards = [_compressed(text) for text in plain]
    for index, shard in enumerate(shards):
        if len(shard) > MAX_BYTES or len(plain[index]) > _MAX_PLAIN_BYTES:
            raise _too_large(document.kind, index, plain, shard)
    head = Head(
        kind=document.kind,
        version=document.version,
        fields={field: content[field] for field in content if field not in entries and field != "version"},
        shards=tuple(digest(shard) for shard in shards),
    )
    return Parts(_text(head.model_dump(mode="json")), tuple(shards))


def read_head(payload: bytes, kind: type[Document], name: str = "head") -> Head:
    """Read a head. `ShardError` when it is damaged, of another release or of another document."""
    try:
        raw = json.loads(payload)
    except ValueError as error:
        raise ShardError(f"{name}: not JSON; it is damaged") from error
    if not isinstance(raw, dict) or raw.get("format") != 1:
        raise ShardError(f"{name}: its format is not 1; it is of another release")
    try:
        head = Head.model_validate(raw)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise ShardError(f"{name}: {where} is not as this release expects") from None
    if head.kind != kind.kind:
        raise ShardError(f"{name}: of another document than {kind.kind}")
    return head


def join(head: Head, shards: Sequence[bytes | None], kind: type[AnyDocument], name: str = "catalog") -> AnyDocument:
    """Put a document together. `UnfitShardsError` unless all shards are those of the head, None being a missing one."""
    if len(shards) != len(head.shards):
        raise UnfitShardsError(f"{name}: {len(shards)} shards of {len(head.shards)}")
    reasons = [
        f"{shard_name(name, index)} {reason}"
        for index, (shard, expected) in enumerate(zip(shards, head.shards, strict=True))
        if (reason := misfit(shard, expected))
    ]
    if reasons:
        raise UnfitShardsError(f"{name}: version {head.version} is not complete: {', '.join(reasons)}")
    entries: dict[str, list[_Entry]] = {}
    for index, shard in enumerate(shards):
        for field, listed in _entries(head, index, shard or b"", shard_name(name, index)).items():
            entries.setdefault(field, []).extend(listed)
    content = {"kind": head.kind, "version": head.version, **head.fields}
    ordered = {field: _in_order(field, listed) for field, listed in entries.items()}
    return documents.loads(_text({**content, **ordered}), kind, name)


def salvaged(payload: bytes, kind: type[AnyDocument], name: str = "shard") -> AnyDocument:
    """Read what one shard holds, whatever head it belongs to: an unsealed document of its entries alone.

    For a publisher that finds a publication half written, and has to know what it had decided. Raises DocumentError.
    """
    try:
        raw = json.loads(_decompressed(payload, name))
        return kind.model_validate(raw["entries"])
    except (ValueError, KeyError, TypeError):
        raise ShardError(f"{name}: not a shard of this release") from None


def misfit(shard: bytes | None, expected: str) -> str:
    """Say why a shard is not the one that a head expects; nothing when it is."""
    if shard is None:
        return "is missing"
    return "" if digest(shard) == expected else f"is another one ({len(shard):,} bytes)"


def _in_order(field: str, entries: list[_Entry]) -> list[_Entry]:
    """Order entries as the compiler does: models from the newest, everything by name."""

    def place(entry: _Entry) -> tuple[int, str]:
        return (-entry["created_at_ms"] if field == "models" else 0, entry["name"])

    return sorted(entries, key=place)


def _plain(kind: str, entries: Mapping[str, list[_Entry]], count: int) -> list[bytes]:
    """Write all shards' texts. An entry's shard follows from its field and name alone."""
    shards: list[dict[str, list[_Entry]]] = [{field: [] for field in entries} for _ in range(count)]
    for field, listed in entries.items():
        for entry in listed:
            place = hashlib.sha256(f"{field}/{entry['name']}".encode()).digest()
            shards[int.from_bytes(place[:8], "big") % count][field].append(entry)
    return [_text({"kind": kind, "shard": index, "of": count, "entries": mine}) for index, mine in enumerate(shards)]


def _compressed(text: bytes) -> bytes:
    """Compress as gzip, whose header says neither a time nor a name."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    return compressor.compress(text) + compressor.flush()


def _decompressed(payload: bytes, name: str) -> bytes:
    decompressor = zlib.decompressobj(_GZIP)
    try:
        text = decompressor.decompress(payload, _MAX_PLAIN_BYTES)
    except zlib.error as error:
        raise ShardError(f"{name}: not compressed as this release does it") from error
    if not decompressor.eof or decompressor.unused_data:
        raise ShardError(f"{name}: cut off, or larger than {_MAX_PLAIN_BYTES:,} bytes")
    return text


def _entries(head: Head, index: int, payload: bytes, name: str) -> dict[str, list[_Entry]]:
    """Read a shard that has the right digest; a head that was made by others could still name a wrong one."""
    try:
        raw = json.loads(_decompressed(payload, name))
    except ValueError as error:
        raise ShardError(f"{name}: not JSON") from error
    expected = {"kind": head.kind, "shard": index, "of": len(head.shards)}
    if not isinstance(raw, dict) or {field: raw.get(field) for field in expected} != expected:
        raise ShardError(f"{name}: not shard {index} of {len(head.shards)} of {head.kind}")
    entries = raw.get("entries")
    if not isinstance(entries, dict) or not all(_are_entries(field, listed) for field, listed in entries.items()):
        raise ShardError(f"{name}: its entries are not as this release expects")
    return entries


def _are_entries(field: str, listed: object) -> bool:
    return isinstance(listed, list) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and (field != "models" or isinstance(entry.get("created_at_ms"), int))
        for entry in listed
    )


def _text(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _too_large(kind: str, index: int, plain: Sequence[bytes], shard: bytes) -> TooLargeError:
    sizes = [
        (len(_text(entry)), field, str(entry["name"]))
        for field, listed in json.loads(plain[index])["entries"].items()
        for entry in listed
    ]
    largest, field, name = max(sizes)
    return TooLargeError(
        f"{kind}: shard {index} of {len(plain)} has {len(shard):,} bytes compressed ({len(plain[index]):,} before) and "
        f"a Secret takes {MAX_BYTES:,}; of its {len(sizes):,} entries {field}/{name} is the largest with "
        f"{largest:,} bytes, "
        f"and the whole document has {sum(map(len, plain)):,}",
        (field, name),
    )
