"""What auth is told at its start: environment variables with the prefix PENSTOCK_AUTH_."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from penstock_chassis.rpc_settings import RpcSettings


class AuthSettings(RpcSettings):
    """Settings of one auth."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_AUTH_", frozen=True, extra="forbid")

    name: str = "auth-0"
    address: str = "unix:.penstock/run/auth.sock"
    """Where gRPC is served: `unix:PATH` (0600) or `HOST:PORT`."""
    catalog_path: Path = Path(".penstock/catalog/auth.json")
    """The compiled catalog: plans, declared keys, prices. It is read anew whenever it changes."""
    database_url: SecretStr = SecretStr("sqlite:///.penstock/ledger.db")
    """`sqlite:///FILE` (one auth only) or `postgresql://USER:PASSWORD@HOST/NAME`."""
    database_deadline_seconds: float = 5.0
    """After so long without an answer the database counts as down."""
    database_connections: int = 4
    """PostgreSQL only: connections for writing, and as many again for reading."""
    database_lock_wait_seconds: float = 10.0
    """SQLite only: how long to wait for the auth before us to let go of the file."""
    redis_url: SecretStr | None = None
    """Store of the counters, shared by all replicas; without it they are in memory, and this auth is the only one."""
    key_prefix: str = "psk_"
    """What new API keys begin with."""
    price_wait_seconds: float = 10.0
    """How long a settlement waits for a price that the catalog does not have yet before it goes to quarantine."""
    max_connection_age_seconds: float = 300.0
    """gRPC connections are closed after so long, so that clients find new replicas."""
