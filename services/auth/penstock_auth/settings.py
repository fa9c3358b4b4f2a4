"""What auth is told at its start: environment variables with the prefix PENSTOCK_AUTH_."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from penstock_catalog.whereabouts import Whereabouts
from penstock_chassis.rpc_settings import RpcSettings
from penstock_chassis.secret import Secret


class AuthSettings(RpcSettings, frozen=True, kw_only=True):
    """Settings of one auth."""

    prefix: ClassVar[str] = "PENSTOCK_AUTH_"

    name: str = "auth-0"
    address: str = "unix:.penstock/run/auth.sock"
    """Where gRPC is served: `unix:PATH` (0600) or `HOST:PORT`."""
    catalog_path: Path | None = None
    """The file of the compiled catalog: plans, declared keys, prices; this or `catalog_secrets` is given.

    It is read anew whenever it changes.
    """
    catalog_secrets: str | None = None
    """What the names of the Secrets begin with that the operator publishes the catalog in."""
    catalog_namespace: str = ""
    """The namespace of these Secrets; without it, the pod's own."""
    database_url: Secret = Secret("sqlite:///.penstock/ledger.db")
    """`sqlite:///FILE` (one auth only) or `postgresql://USER:PASSWORD@HOST/NAME`."""
    database_deadline_seconds: Annotated[float, Meta(gt=0)] = 5.0
    """After so long without an answer the database counts as down."""
    database_connections: Annotated[int, Meta(ge=1)] = 4
    """PostgreSQL only: connections for writing, and as many again for reading."""
    database_lock_wait_seconds: Annotated[float, Meta(ge=0)] = 10.0
    """SQLite only: how long to wait for the auth before us to let go of the file."""
    redis_url: Secret | None = None
    """Store of the counters, shared by all replicas; without it they are in memory, and this auth is the only one.

    `redis://[USER:PASSWORD@]HOST:PORT`, or `rediss://` for TLS, there with `?ssl_ca_certs=FILE` for an own authority.
    """
    redis_cluster: bool = False
    """`redis_url` names a node of a Redis Cluster, or several with commas; `redis+cluster://` says so too."""
    redis_deadline_seconds: Annotated[float, Meta(gt=0)] = 0.25
    """A store that does not answer for so long is down, also when it still takes connections."""
    key_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "psk_"
    """What new API keys begin with."""
    price_wait_seconds: Annotated[float, Meta(ge=0)] = 10.0
    """How long a settlement waits for a price that the catalog does not have yet before it goes to quarantine."""
    max_connection_age_seconds: Annotated[float, Meta(gt=0, le=31_536_000)] = 300.0
    """gRPC connections are closed after so long, so that clients find new replicas."""

    def __post_init__(self) -> None:
        _ = self.catalog

    @property
    def catalog(self) -> Whereabouts:
        """Where the catalog is."""
        return Whereabouts(self.catalog_path, self.catalog_secrets, self.catalog_namespace)
