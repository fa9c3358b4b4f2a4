"""What auth is told at its start: environment variables with the prefix PENSTOCK_AUTH_."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from penstock_catalog.whereabouts import Whereabouts
from penstock_chassis.rpc_settings import RpcSettings


class AuthSettings(RpcSettings):
    """Settings of one auth."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_AUTH_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

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
    database_url: SecretStr = SecretStr("sqlite:///.penstock/ledger.db")
    """`sqlite:///FILE` (one auth only) or `postgresql://USER:PASSWORD@HOST/NAME`."""
    database_deadline_seconds: float = 5.0
    """After so long without an answer the database counts as down."""
    database_connections: int = 4
    """PostgreSQL only: connections for writing, and as many again for reading."""
    database_lock_wait_seconds: float = 10.0
    """SQLite only: how long to wait for the auth before us to let go of the file."""
    redis_url: SecretStr | None = None
    """Store of the counters, shared by all replicas; without it they are in memory, and this auth is the only one.

    `redis://[USER:PASSWORD@]HOST:PORT`, or `rediss://` for TLS, there with `?ssl_ca_certs=FILE` for an own authority.
    """
    redis_cluster: bool = False
    """`redis_url` names a node of a Redis Cluster, or several with commas; `redis+cluster://` says so too."""
    redis_deadline_seconds: float = Field(default=0.25, gt=0)
    """A store that does not answer for so long is down, also when it still takes connections."""
    key_prefix: str = "psk_"
    """What new API keys begin with."""
    price_wait_seconds: float = 10.0
    """How long a settlement waits for a price that the catalog does not have yet before it goes to quarantine."""
    max_connection_age_seconds: float = 300.0
    """gRPC connections are closed after so long, so that clients find new replicas."""

    @model_validator(mode="after")
    def _one_catalog(self) -> Self:
        _ = self.catalog
        return self

    @property
    def catalog(self) -> Whereabouts:
        """Where the catalog is."""
        return Whereabouts(self.catalog_path, self.catalog_secrets, self.catalog_namespace)
