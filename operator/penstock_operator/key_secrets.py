"""The Secret of a declared key: what stands in it and whose it is, and how it is written. Pure.

The key's text is in `data` and nowhere else. Annotations say in public what it is, what it was before a rotation, and
which rotation has been done; they are notes: what counts is the text that the API server gives back.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from penstock_catalog import api_key
from penstock_catalog.documents import PreviousKey
from penstock_catalog.resources import GROUP_VERSION
from penstock_operator.ownership import labels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_catalog.resources import APIKey
    from penstock_operator.cluster import Object

DATA_KEY: Final = "api-key"
ROTATE: Final = "penstock.dev/rotate"
"""On an APIKey: any new text makes a new key."""
OVERLAP: Final = "penstock.dev/rotate-overlap-seconds"
"""On an APIKey: for how long the replaced key goes on."""
API_KEY: Final = "penstock.dev/api-key"
"""On a Secret, as a label and in full as an annotation: the APIKey that it is for."""
LONGEST_OVERLAP: Final = timedelta(days=30)

_ID: Final = "penstock.dev/key-id"
_PREFIX: Final = "penstock.dev/key-prefix"
_DIGEST: Final = "penstock.dev/key-digest"
_ISSUED: Final = "penstock.dev/key-issued-time"
_PREVIOUS_ID: Final = "penstock.dev/previous-key-id"
_PREVIOUS_PREFIX: Final = "penstock.dev/previous-key-prefix"
_PREVIOUS_DIGEST: Final = "penstock.dev/previous-key-digest"
_PREVIOUS_UNTIL: Final = "penstock.dev/previous-key-until"
_ROTATED: Final = "penstock.dev/rotated"
_COMPONENT: Final = "api-key"
_KIND: Final = "APIKey"
_LABEL_LENGTH: Final = 63
_NOTE_LENGTH: Final = 253
_OF_PENSTOCK: Final = re.compile(r"-(ca|admin|[a-z]+-tls|(router|auth)-catalog-[a-z0-9]+)")
_HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PUBLIC: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Standing(StrEnum):
    """Whose a Secret is, as one APIKey sees it."""

    OWN = "Own"
    ORPHAN = "Orphan"
    """It names this APIKey and belongs to nobody: its APIKey was deleted with `--cascade=orphan`, or it was copied."""
    FORMER = "Former"
    """It belongs to an APIKey of the same name that has been deleted; Kubernetes is about to remove it."""
    FOREIGN = "Foreign"


@dataclass(frozen=True, slots=True)
class Holder:
    """An `APIKey` as far as its Secret is concerned. `rotate` and `overlap` are annotations as written."""

    name: str
    uid: str
    secret_name: str
    created: str = ""
    revoked: bool = False
    deleting: bool = False
    rotate: str = ""
    overlap: str = ""
    shown_before: str = ""
    """The prefix that its status shows: a key has been made before."""

    @classmethod
    def of(cls, resource: APIKey, body: Object) -> Holder:
        """Read it off the typed resource and the object that this came from."""
        metadata, status = body.get("metadata") or {}, body.get("status") or {}
        annotations = metadata.get("annotations") or {}
        return cls(
            name=resource.name,
            uid=str(metadata.get("uid") or ""),
            secret_name=resource.spec.secret_name,
            created=str(metadata.get("creationTimestamp") or ""),
            revoked=resource.spec.mode == "Revoked",
            deleting=bool(metadata.get("deletionTimestamp")),
            rotate=_noted(str(annotations.get(ROTATE) or "")),
            overlap=str(annotations.get(OVERLAP) or "").strip(),
            shown_before=str(status.get("keyPrefix") or ""),
        )


@dataclass(frozen=True, slots=True)
class Known:
    """A key's public facts. `prefix` includes the id."""

    id: str
    prefix: str
    digest: str


@dataclass(frozen=True, slots=True)
class Held:
    """What one Secret holds. `key` is None when its text is no key; `noted` is what its annotations say it is."""

    name: str
    uid: str
    resource_version: str
    created: str
    terminating: bool
    immutable: bool
    text: str = field(repr=False)
    key: Known | None
    noted: Known
    issued_time: str
    previous: PreviousKey | None
    rotated: str
    owners: tuple[dict[str, Any], ...] = field(repr=False)
    noted_for: str


def read(secret: Object) -> Held:
    """Read a Secret, whatever people have made of it."""
    metadata = secret.get("metadata") or {}
    notes = metadata.get("annotations") or {}
    text = _text(secret)
    created = str(metadata.get("creationTimestamp") or "")
    return Held(
        name=str(metadata.get("name") or ""),
        uid=str(metadata.get("uid") or ""),
        resource_version=str(metadata.get("resourceVersion") or ""),
        created=created,
        terminating=bool(metadata.get("deletionTimestamp")),
        immutable=bool(secret.get("immutable")),
        text=text,
        key=_known(text),
        noted=Known(*(str(notes.get(note) or "") for note in (_ID, _PREFIX, _DIGEST))),
        issued_time=time_text(moment) if (moment := moment_of(str(notes.get(_ISSUED) or ""))) else created,
        previous=_previous(notes),
        rotated=str(notes.get(_ROTATED) or ""),
        owners=tuple(owner for owner in metadata.get("ownerReferences") or () if isinstance(owner, dict)),
        noted_for=str(notes.get(API_KEY) or ""),
    )


def standing(held: Held, holder: Holder) -> Standing:
    """Say whose a Secret is. What people wrote themselves is foreign, whatever it holds."""
    if any(owner.get("uid") == holder.uid for owner in held.owners):
        return Standing.OWN
    if held.noted_for != holder.name:
        return Standing.FOREIGN
    if not held.owners:
        return Standing.ORPHAN
    # One that is younger than this APIKey belongs to a later one: then it is this APIKey that is out of date.
    former = all(_is_api_key(owner) and owner.get("name") == holder.name for owner in held.owners)
    return Standing.FORMER if former and held.created <= holder.created else Standing.FOREIGN


def is_reserved(name: str, release: str) -> bool:
    """Whether a Secret of this name is, or will be, one that the operator makes for the release's own processes."""
    return name.startswith(release) and _OF_PENSTOCK.fullmatch(name.removeprefix(release)) is not None


def owners_of(secret: Object) -> set[str]:
    """Return the uids of the APIKeys that a Secret belongs to."""
    owners = (secret.get("metadata") or {}).get("ownerReferences") or ()
    return {str(owner.get("uid")) for owner in owners if isinstance(owner, dict) and _is_api_key(owner)}


class KeySecrets:
    """All Secrets of a namespace, by name and by the APIKeys that own them: built once for many decisions."""

    def __init__(self, secrets: Iterable[Object] = ()) -> None:
        self._by_name: dict[str, Object] = {}
        self._by_owner: dict[str, set[str]] = {}
        for secret in secrets:
            self.take(secret)

    def take(self, secret: Object) -> None:
        """Note a Secret as it is now: what the API answered to a write too."""
        name = str(secret["metadata"]["name"])
        self.drop(name)
        self._by_name[name] = secret
        for uid in owners_of(secret):
            self._by_owner.setdefault(uid, set()).add(name)

    def drop(self, name: str) -> None:
        """Note that a Secret is gone."""
        before = self._by_name.pop(name, None)
        for uid in owners_of(before) if before is not None else ():
            self._by_owner[uid].discard(name)

    def objects_of(self, holder: Holder) -> tuple[Object | None, ...]:
        """Return the Secret that an APIKey names, and the others that it owns, as they came from the API."""
        names = sorted(self._by_owner.get(holder.uid, set()) - {holder.secret_name})
        return self._by_name.get(holder.secret_name), *(self._by_name[name] for name in names)

    def of(self, holder: Holder) -> tuple[Held | None, tuple[Held, ...]]:
        """Return the Secret that an APIKey names, and the others that it owns."""
        target = self._by_name.get(holder.secret_name)
        names = sorted(self._by_owner.get(holder.uid, set()) - {holder.secret_name})
        return (read(target) if target is not None else None), tuple(read(self._by_name[name]) for name in names)


# Writing.


def new_secret(
    holder: Holder, release: str, text: str, issued: datetime, previous: PreviousKey | None, rotated: str
) -> Object:
    """Return a Secret to create."""
    notes = _notes(text, time_text(issued), previous) | {API_KEY: holder.name, _ROTATED: rotated or None}
    return {
        "metadata": {
            "name": holder.secret_name,
            "labels": {**labels(release, _COMPONENT), API_KEY: label(holder.name)},
            "annotations": {note: value for note, value in notes.items() if value is not None},
            "ownerReferences": [owner_reference(holder)],
        },
        "type": "Opaque",
        "data": _data(text),
    }


def rotated_patch(held: Held, text: str, now: datetime, previous: PreviousKey | None, rotated: str) -> Object:
    """Return the merge patch that puts a new text in the place of the old one."""
    notes = _notes(text, time_text(now), previous) | {_ROTATED: rotated}
    return {"metadata": {**_guard(held), "annotations": notes}, "data": _data(text)}


def noted_patch(held: Held, holder: Holder, issued: str) -> Object:
    """Return the merge patch that makes the notes say what stands in the Secret."""
    rotated = held.rotated or holder.rotate or None
    notes = _notes(held.text, issued, held.previous) | {API_KEY: holder.name, _ROTATED: rotated}
    return {"metadata": {**_guard(held), "annotations": notes}}


def adopted_patch(held: Held, holder: Holder, release: str) -> Object:
    """Return the merge patch that gives a Secret to an APIKey."""
    marks = {**labels(release, _COMPONENT), API_KEY: label(holder.name)}
    return {"metadata": {**_guard(held), "labels": marks, "ownerReferences": [owner_reference(holder)]}}


def owner_reference(holder: Holder) -> dict[str, Any]:
    """Return the reference that has the Secret removed with its APIKey."""
    return {
        "apiVersion": GROUP_VERSION,
        "kind": _KIND,
        "name": holder.name,
        "uid": holder.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def label(name: str) -> str:
    """Return an APIKey's name as a label can carry it; a long one ends in a part of its digest."""
    if len(name) <= _LABEL_LENGTH:
        return name
    return f"{name[:50].rstrip('.-')}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def time_text(moment: datetime) -> str:
    """Write a time as Kubernetes does, to the second that has begun."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> datetime | None:
    """Read such a time; None for anything else, and for the first and last years, where time zones lead beyond all."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and MINYEAR < moment.year < MAXYEAR else None


def previous_of(key: Known, until: datetime) -> PreviousKey:
    """Return what is published of a replaced key; the second in which it ends is its whole."""
    whole = until if until.microsecond == 0 else until.replace(microsecond=0) + timedelta(seconds=1)
    return PreviousKey(id=key.id, prefix=key.prefix, digest=key.digest, expires_at_ms=int(whole.timestamp()) * 1000)


def end_of(previous: PreviousKey) -> datetime:
    """Return when a replaced key ends."""
    return datetime.fromtimestamp(previous.expires_at_ms / 1000, UTC)


def _text(secret: Object) -> str:
    data = secret.get("data")
    held = data.get(DATA_KEY) if isinstance(data, dict) else None
    try:
        # An editor's last newline is not of the key.
        return base64.b64decode(held, validate=True).decode().strip() if isinstance(held, str) else ""
    except (binascii.Error, ValueError):
        return ""


def _known(text: str) -> Known | None:
    if not api_key.well_formed(text):
        return None
    return Known(api_key.public_id(text), api_key.shown(text), api_key.digest(text).hex())


def _previous(notes: dict[str, Any]) -> PreviousKey | None:
    key = Known(*(str(notes.get(note) or "") for note in (_PREVIOUS_ID, _PREVIOUS_PREFIX, _PREVIOUS_DIGEST)))
    until = moment_of(str(notes.get(_PREVIOUS_UNTIL) or ""))
    sound = _HEX_DIGEST.fullmatch(key.digest) and _PUBLIC.fullmatch(key.id) and _PUBLIC.fullmatch(key.prefix)
    return previous_of(key, until) if until is not None and sound else None


def _notes(text: str, issued: str, previous: PreviousKey | None) -> dict[str, str | None]:
    """Return the annotations about a text; None takes one away."""
    key = _known(text)
    if key is None:
        raise ValueError("only a key is written down")
    return {
        _ID: key.id,
        _PREFIX: key.prefix,
        _DIGEST: key.digest,
        _ISSUED: issued,
        _PREVIOUS_ID: previous.id if previous else None,
        _PREVIOUS_PREFIX: previous.prefix if previous else None,
        _PREVIOUS_DIGEST: previous.digest if previous else None,
        _PREVIOUS_UNTIL: time_text(end_of(previous)) if previous else None,
    }


def _noted(rotate: str) -> str:
    """Return a rotation's text as it is noted: a long one by its digest."""
    return rotate if len(rotate) <= _NOTE_LENGTH else f"sha256:{hashlib.sha256(rotate.encode()).hexdigest()}"


def _guard(held: Held) -> dict[str, str]:
    """Return what makes the API refuse a patch of another Secret than the one that was read."""
    return {"uid": held.uid, "resourceVersion": held.resource_version}


def _data(text: str) -> dict[str, str]:
    return {DATA_KEY: base64.b64encode(text.encode()).decode("ascii")}


def _is_api_key(owner: dict[str, Any]) -> bool:
    return owner.get("kind") == _KIND and str(owner.get("apiVersion", "")).partition("/")[0] == "penstock.dev"
