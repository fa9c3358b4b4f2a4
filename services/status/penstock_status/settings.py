"""What the status process is told at its start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from penstock_chassis.rpc_settings import RpcSettings

TOKEN_MINIMUM_CHARACTERS = 16


class StatusSettings(RpcSettings, frozen=True, kw_only=True):
    """Settings of status; each is read from `PENSTOCK_STATUS_<NAME>`."""

    prefix: ClassVar[str] = "PENSTOCK_STATUS_"

    name: str = "status-0"
    """Stable name of this process among its siblings."""
    host: str = "127.0.0.1"
    """Address the admin API listens on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8081
    """Port of the same; 0 takes any free one."""
    port_is_reserved: bool = False
    """Local mode: `penstock up` holds the port for this process, which binds beside it."""
    auth_address: str
    """gRPC address of auth: `unix:/path` or `host:port`."""
    router_address: str
    """gRPC address of the router: `unix:/path` or `host:port`."""
    admin_token_file: Path
    """File that holds the bearer token of the admin API, one line."""
    rpc_deadline_seconds: Annotated[float, Meta(gt=0)] = 5.0
    """How long one call to auth or the router may take."""
    probe_deadline_seconds: Annotated[float, Meta(gt=0)] = 1.0
    """The same for the calls behind /readyz."""
