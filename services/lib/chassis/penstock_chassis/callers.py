"""Who may call what: one row per method. A method without a row may be called by nobody."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from penstock_chassis.identity import Component

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALL: Final = frozenset(Component)
_EDGE: Final = frozenset({Component.EDGE})
_STATUS: Final = frozenset({Component.STATUS})
_OPERATOR: Final = frozenset({Component.OPERATOR})
_ONLOOKERS: Final = frozenset({Component.STATUS, Component.OPERATOR})

CALLERS: Final[Mapping[str, Mapping[str, frozenset[Component]]]] = MappingProxyType(
    {
        "penstock.auth.v1.AuthService": {
            "Allow": _EDGE,
            "Declare": _EDGE,
            "Settle": _EDGE,
            "WatchChanges": _EDGE,
            "GetUsage": _EDGE,
            "WatchObserved": _ONLOOKERS,
        },
        "penstock.auth.v1.AdminService": {
            "CreateProject": _STATUS,
            "ListProjects": _STATUS,
            "CreateKey": _STATUS,
            "ListKeys": _STATUS,
            "GetKey": _STATUS,
            "DisableKey": _STATUS,
            "RotateKey": _STATUS,
            "AddCredit": _STATUS,
            "ListCredit": _STATUS,
            "ListPlans": _STATUS,
            "ListUsage": _STATUS,
            "ShowUsage": _STATUS,
            "SummarizeUsage": _STATUS,
            "ListAudit": _STATUS,
        },
        "penstock.router.v1.RouterService": {
            # The upstream accounts' credentials are in it.
            "Watch": _EDGE,
            "Report": _EDGE,
            "Explain": _ONLOOKERS,
            "WatchObserved": _ONLOOKERS,
            "Probe": _OPERATOR,
        },
        "grpc.health.v1.Health": {
            "Check": _ALL,
            "List": _ALL,
            "Watch": _ALL,
        },
    }
)


def who_may_call(method: str) -> frozenset[Component]:
    """Return the components that may call `/package.Service/Method`."""
    service, _, name = method.removeprefix("/").partition("/")
    return CALLERS.get(service, {}).get(name, frozenset())
