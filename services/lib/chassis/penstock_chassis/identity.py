"""Who a process is: the component that its certificate names as `<component>.<domain>`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Component(StrEnum):
    """The kinds of processes that call each other, as their certificates name them."""

    EDGE = "edge"
    AUTH = "auth"
    ROUTER = "router"
    STATUS = "status"
    OPERATOR = "operator"
    CLI = "cli"


def dns_name(component: Component, domain: str) -> str:
    """Return the DNS name that proves a component: a server's to its clients, a client's to its servers."""
    return f"{component}.{domain}".lower()


def components(names: Iterable[str], domain: str) -> frozenset[Component]:
    """Return the components that a certificate's DNS names name. A wildcard names none, nor does another domain."""
    held = {name.lower() for name in names}
    return frozenset(component for component in Component if dns_name(component, domain) in held)
