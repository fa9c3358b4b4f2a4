"""What the operator is told at its start, from `PENSTOCK_OPERATOR_*` variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from penstock_chassis.rpc_settings import RpcSettings

_FULLNAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"unix:.+|(\[[0-9A-Fa-f:.]+\]|[^\s,:/]+):[0-9]{1,5}")


class OperatorSettings(RpcSettings, frozen=True, kw_only=True):
    """All settings of the operator."""

    prefix: ClassVar[str] = "PENSTOCK_OPERATOR_"

    name: str = "operator"
    namespace: str = ""
    """The only namespace that is looked at; without it, the pod's own (or the kubeconfig's)."""
    release: str = "penstock"
    """What the names of all objects of this release begin with: `<release>-router-catalog-head`, `<release>-ca`."""
    router_addresses: str = ""
    """Routers as `host:port`, separated by commas. Every address that a host resolves to is one replica."""
    auth_addresses: str = ""
    """Auths, likewise."""
    key_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "psk_"
    """What new API keys begin with; the same as auth's."""
    resync_seconds: Annotated[float, Meta(gt=0)] = 60.0
    """How often everything is listed anew, whatever events said."""
    debounce_seconds: Annotated[float, Meta(ge=0)] = 0.15
    """How long changes are gathered before they are acted on."""
    status_seconds: Annotated[float, Meta(ge=0)] = 5.0
    """The least time between two writes of one object's status because of what routers and auths say."""
    outage_seconds: Annotated[float, Meta(ge=0)] = 30.0
    """For how long the last word of a router or auth that has gone silent is believed. Deploying one takes seconds."""
    probe_seconds: Annotated[float, Meta(gt=0)] = 600.0
    """How often a credential that works is tried again, by an unbilled request that a router makes."""
    certificates: Literal["Issue", "Given"] = "Given"
    """Issue: make the authority and every component's certificate. Given: they come from elsewhere or not at all."""
    tls_dir: Path = Path("/tmp/penstock-tls")  # noqa: S108 -- a folder of its own, made with 0700
    """Where the operator writes its own certificate when it issues them."""
    authority_step_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    """How long each step of an exchange of authorities stands: several times what kubelets need to renew Secrets."""
    admin_token_secret: str = ""
    """Name of the Secret with the CLI's admin token, made when it is missing; "" makes none."""
    api_deadline_seconds: Annotated[float, Meta(gt=0)] = 5.0
    """A call of the Kubernetes API without an answer for so long has failed."""

    def __post_init__(self) -> None:
        if not _FULLNAME.fullmatch(self.release):
            raise ValueError("release is no name: use up to 42 of a-z, 0-9 and -, such as penstock")
        if self.namespace and not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError("namespace is no namespace's name: use up to 63 of a-z, 0-9 and -")
        for name, addresses in (("router_addresses", self.routers), ("auth_addresses", self.auths)):
            for at, address in enumerate(addresses, 1):
                if not _ADDRESS.fullmatch(address):
                    raise ValueError(f"{name}: number {at} is no address: write host:port, and commas between several")

    @property
    def routers(self) -> tuple[str, ...]:
        """The routers' addresses."""
        return _addresses(self.router_addresses)

    @property
    def auths(self) -> tuple[str, ...]:
        """The auths' addresses."""
        return _addresses(self.auth_addresses)

    @property
    def router_catalog(self) -> str:
        """What the names of the router's catalog Secrets begin with."""
        return f"{self.release}-router-catalog"

    @property
    def auth_catalog(self) -> str:
        """What the names of auth's catalog Secrets begin with."""
        return f"{self.release}-auth-catalog"


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
