"""What the edge is told at its start (environment: PENSTOCK_EDGE_...)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from penstock_chassis.rpc_settings import RpcSettings


class EdgeSettings(RpcSettings, frozen=True, kw_only=True):
    """Settings of one edge process. Durations are in seconds."""

    prefix: ClassVar[str] = "PENSTOCK_EDGE_"

    name: str = "edge-0"
    """Stable name of this edge among its siblings; its spool's folder bears it."""
    host: str = "127.0.0.1"
    """Address that clients connect to."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """Port that clients connect to; shared by all edges of a machine. 0 takes a free one."""
    auth_address: str = "unix:.penstock/run/auth.sock"
    """Where auth is: unix:/path or host:port."""
    router_address: str = "unix:.penstock/run/router.sock"
    """Where the router is: unix:/path or host:port."""
    spool_dir: Path = Path(".penstock/spool")
    """Folder of all edges' spools, on a volume that outlives the container."""
    spool_max_bytes: Annotated[int, Meta(ge=1)] = 256 * 1024 * 1024
    """Above this many bytes of unsettled requests, new ones are refused."""
    ready_files: tuple[Path, ...] = ()
    """Files that must exist before this edge says that it is ready (local mode: the admin API answers)."""
    farewell_seconds: Annotated[float, Meta(gt=0)] = 5.0
    """How long auth and the router are told, after the drain, what is left to tell; what nobody heard by then waits in
    the spool for this edge's next life."""
    max_body_bytes: Annotated[int, Meta(ge=1)] = 32 * 1024 * 1024
    """Largest request body."""
    keepalive_seconds: Annotated[float, Meta(gt=0)] = 15.0
    """Streams: after this much silence a ping goes out, with status and headers if they have not gone yet."""
    client_stall_seconds: Annotated[float, Meta(gt=0)] = 120.0
    """A client that does not read for this long counts as gone."""
    total_seconds: Annotated[float, Meta(gt=0)] = 900.0
    """From arrival until output begins, over all attempts."""
    wait_seconds: Annotated[float, Meta(ge=0)] = 2.0
    """How long a request may wait for an account that is about to have room."""
    wait_places: Annotated[int, Meta(ge=0)] = 512
    """How many requests may wait like that."""
    admit_seconds: Annotated[float, Meta(gt=0)] = 5.0
    """How long a request may wait for auth."""
    max_attempts: Annotated[int, Meta(ge=1)] = 4
    """Accounts that one request may try."""
    upstream_connections: Annotated[int, Meta(ge=1)] = 1024
    """Connections to one origin."""
    upstream_total_connections: Annotated[int, Meta(ge=1)] = 4096
    """Connections to all origins together."""
    upstream_idle_seconds: Annotated[float, Meta(ge=0)] = 50.0
    """An upstream connection that was not used for this long is closed."""
    upstream_ca_file: Path | None = None
    """Certificates that upstreams are checked against; the system's when absent."""
    traces_asked_per_second: Annotated[float, Meta(ge=0)] = 1.0
    """How many requests a second may be traced because their clients ask for it, beside those that are drawn by lot."""
    client_idle_seconds: Annotated[int, Meta(ge=0)] = 75
    """A client's connection that was not used for this long is closed."""
