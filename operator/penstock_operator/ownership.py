"""Which Secrets the operator made: it writes those, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
_OPERATOR: Final = "penstock-operator"
_RELEASE: Final = "penstock.dev/release"
_COMPONENT: Final = "app.kubernetes.io/component"
_PRIVATE: Final = frozenset({"certificates", "admin-token", "catalog"})


def labels(release: str, component: str) -> dict[str, str]:
    """Return the labels of a Secret that the operator of `release` makes; `component` says what it is for."""
    return {
        "app.kubernetes.io/name": "penstock",
        "app.kubernetes.io/part-of": "penstock",
        _COMPONENT: component,
        _MANAGED_BY: _OPERATOR,
        _RELEASE: release,
    }


def is_ours(secret: Mapping[str, Any], release: str) -> bool:
    """Whether a Secret bears the labels of this release's operator."""
    held = _labels(secret)
    return held.get(_MANAGED_BY) == _OPERATOR and held.get(_RELEASE) == release


def is_private(secret: Mapping[str, Any]) -> bool:
    """Whether a Secret is for the processes of some release alone.

    Who may make accounts may have a Secret's content sent to a server of their choice: not the admin's token.
    """
    held = _labels(secret)
    return held.get(_MANAGED_BY) == _OPERATOR and held.get(_COMPONENT) in _PRIVATE


def _labels(secret: Mapping[str, Any]) -> Mapping[str, Any]:
    return (secret.get("metadata") or {}).get("labels") or {}
