"""The Secrets that hold authorities and certificates: what is read from them, and what is written to them.

`<release>-ca`: `tls.crt` and `tls.key`, the authority that issues; while authorities are exchanged, `previous.crt` has
those that are still believed, and `previous.key` the key of the one before. Only the operator reads it.
`<release>-<component>-tls`: `tls.crt`, `tls.key`, `ca.crt`, as processes mount them.
"""

from __future__ import annotations

import base64
import binascii
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from penstock_operator.certificates import HeldAuthorities, HeldLeaf, Standing
from penstock_operator.certificates_x509 import make_authority, make_leaf, read_authorities, read_leaf
from penstock_operator.ownership import is_ours, labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock_operator.certificates import Authority, AuthorityChange, LeafChange, Terms
    from penstock_operator.cluster import Object

ROTATE: Final = "penstock.dev/rotate"
"""People write any new text here to have the authority exchanged, or the certificate made anew."""
ROTATED: Final = "penstock.dev/rotated"
"""The last such text that was obeyed."""
_LONGEST_REQUEST: Final = 200
"""Of it, only so much is compared and repeated."""
_BUNDLE_SINCE: Final = "penstock.dev/bundle-since"
_LEAF_SINCE: Final = "penstock.dev/certificate-since"
_EXPIRES: Final = "penstock.dev/expires"
_TLS: Final = "kubernetes.io/tls"
_COMPONENT: Final = "certificates"


def ca_secret(release: str) -> str:
    """Return the name of the Secret with the authority."""
    return f"{release}-ca"


def leaf_secret(release: str, component: str) -> str:
    """Return the name of the Secret that a component's processes mount."""
    return f"{release}-{component}-tls"


def read_ca(secret: Object | None, release: str) -> HeldAuthorities:
    """Return what the CA Secret holds; None is one that does not exist."""
    standing = _standing(secret, release)
    if secret is None or standing is not Standing.OURS:
        return HeldAuthorities(standing)
    current, whole = read_authorities(_value(secret, "tls.crt"), _value(secret, "tls.key"))
    previous, rest_whole = read_authorities(_value(secret, "previous.crt"), _value(secret, "previous.key"))
    return HeldAuthorities(
        standing,
        authorities=(*current, *previous),
        damaged=not (whole and rest_whole and current),
        request=_request(secret),
    )


def read_component(secret: Object | None, release: str, authorities: tuple[Authority, ...]) -> HeldLeaf:
    """Return what a component's Secret holds."""
    standing = _standing(secret, release)
    if secret is None or standing is not Standing.OURS:
        return HeldLeaf(standing)
    bundle, whole = read_authorities(_value(secret, "ca.crt"))
    return HeldLeaf(
        standing,
        leaf=read_leaf(_value(secret, "tls.crt"), _value(secret, "tls.key"), (*authorities, *bundle)),
        # A bundle of which a part cannot be read is none: processes would refuse it.
        bundle=bundle if whole else (),
        bundle_since=_time(secret, _BUNDLE_SINCE),
        leaf_since=_time(secret, _LEAF_SINCE),
        request=_request(secret),
        unchangeable=secret.get("type") != _TLS or bool(secret.get("immutable")),
    )


def ca_content(change: AuthorityChange, release: str, now: float, terms: Terms) -> Object:
    """Return the CA Secret to be, without what guards the writing. Makes the new authority if there is to be one."""
    authorities = (make_authority(now, terms), *change.keep) if change.make else change.keep
    issuing, *previous = authorities
    data = {
        "tls.crt": issuing.certificate,
        "tls.key": issuing.key,
        "previous.crt": _bundle(previous) or None,
        "previous.key": next((one.key for one in previous if one.key), None),
    }
    return _content(ca_secret(release), release, data, {_EXPIRES: _text(issuing.not_after)}, change.served)


def leaf_content(change: LeafChange, name: str, release: str, now: float, terms: Terms) -> Object:
    """Return a component's Secret to be, likewise; a certificate that stays is not in it."""
    data: dict[str, bytes | None] = {"ca.crt": _bundle(change.believed)}
    notes = {_BUNDLE_SINCE: _text(change.bundle_since), _LEAF_SINCE: _text(change.leaf_since)}
    if change.issuer is not None:
        data["tls.crt"], data["tls.key"] = make_leaf(change.component, name, change.issuer, now, terms)
        notes[_EXPIRES] = _text(min(now + terms.leaf_seconds, change.issuer.not_after))
    return _content(leaf_secret(release, change.component), release, data, notes, change.served)


def without_nulls(content: Object) -> Object:
    """Return it as a new Secret is created: what would be taken away is not there yet."""
    return content | {"data": {key: value for key, value in content["data"].items() if value is not None}}


def with_what_stays(content: Object, secret: Object) -> Object:
    """Return it as a Secret is created in place of `secret`, whose other data it keeps."""
    metadata = content["metadata"]
    annotations = (secret["metadata"].get("annotations") or {}) | metadata["annotations"]
    return without_nulls(
        content
        | {"metadata": metadata | {"annotations": annotations}, "data": (secret.get("data") or {}) | content["data"]}
    )


def files(secret: Object) -> dict[str, bytes]:
    """Return the three files of a component's Secret; b"" for one that is missing."""
    return {key: _value(secret, key) for key in ("tls.crt", "tls.key", "ca.crt")}


def _content(
    name: str, release: str, data: Mapping[str, bytes | None], annotations: Mapping[str, str], served: str
) -> Object:
    noted = {**annotations, ROTATED: served} if served else dict(annotations)
    return {
        "metadata": {"name": name, "labels": labels(release, _COMPONENT), "annotations": noted},
        "type": _TLS,
        "data": {
            key: None if value is None else base64.b64encode(value).decode("ascii") for key, value in data.items()
        },
    }


def _standing(secret: Object | None, release: str) -> Standing:
    if secret is None:
        return Standing.ABSENT
    return Standing.OURS if is_ours(secret, release) else Standing.FOREIGN


def _bundle(authorities: tuple[Authority, ...] | list[Authority]) -> bytes:
    return b"".join(one.certificate for one in authorities)


def _value(secret: Object, key: str) -> bytes:
    held = (secret.get("data") or {}).get(key)
    try:
        return base64.b64decode(held, validate=True) if isinstance(held, str) else b""
    except (binascii.Error, ValueError):
        return b""


def _annotations(secret: Object) -> dict[str, Any]:
    return secret["metadata"].get("annotations") or {}


def _request(secret: Object) -> str:
    asked = str(_annotations(secret).get(ROTATE, ""))[:_LONGEST_REQUEST]
    return asked if asked != _annotations(secret).get(ROTATED) else ""


def _time(secret: Object, annotation: str) -> float | None:
    try:
        moment = datetime.fromisoformat(_annotations(secret)[annotation])
    except (KeyError, TypeError, ValueError):
        return None
    return moment.timestamp() if moment.tzinfo and MINYEAR < moment.year < MAXYEAR else None


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
