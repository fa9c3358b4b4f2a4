"""What the router is told at its start, from `PENSTOCK_ROUTER_*` variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from penstock_catalog.whereabouts import Whereabouts
from penstock_chassis.rpc_settings import RpcSettings
from penstock_chassis.secret import Secret


class RouterSettings(RpcSettings, frozen=True, kw_only=True):
    """All settings of one router process."""

    prefix: ClassVar[str] = "PENSTOCK_ROUTER_"

    name: str = "router"
    address: str
    """Where it serves gRPC: `unix:/path` or `host:port`."""
    catalog_path: Path | None = None
    """The file of the router's catalog document; this or `catalog_secrets` is given."""
    catalog_secrets: str | None = None
    """What the names of the Secrets begin with that the operator publishes the document in."""
    catalog_namespace: str = ""
    """The namespace of these Secrets; without it, the pod's own."""
    redis_url: Secret | None = None
    """State shared with other routers; without it, state is in memory (and in `run_dir`, if there is one).

    `redis://[USER:PASSWORD@]HOST:PORT`, or `rediss://` for TLS, there with `?ssl_ca_certs=FILE` for an own authority.
    """
    redis_cluster: bool = False
    """`redis_url` names a node of a Redis Cluster, or several with commas; `redis+cluster://` says so too."""
    redis_deadline_seconds: Annotated[float, Meta(gt=0)] = 0.25
    """A store that does not answer for so long is down, also when it still takes connections."""
    heartbeat_seconds: Annotated[float, Meta(gt=0)] = 0.5
    """How often a watching edge hears something at least."""
    sync_seconds: Annotated[float, Meta(gt=0)] = 0.25
    """How often state is exchanged with the store, and shares are split anew."""
    session_silent_seconds: Annotated[float, Meta(gt=0)] = 30.0
    """An edge session that neither watches nor reports for so long is dead: its shares are lent to others."""
    learn_seconds: Annotated[float, Meta(ge=0)] | None = None
    """How long a router that remembers nothing lends nothing new; default 30, in local mode (with a `run_dir`) 0."""
    probe_deadline_seconds: Annotated[float, Meta(gt=0)] = 10.0
    """A probe without an answer for so long has failed."""
    upstream_ca_file: Path | None = None
    """Certificates that upstreams are checked against when they are probed; the edges have the same setting."""
    watch_queue: Annotated[int, Meta(ge=1)] = 256
    """Updates that a slow watcher may be behind before it is sent a full snapshot instead."""
    max_sessions: Annotated[int, Meta(ge=1)] = 10_000
    """Edge sessions known at once; the longest silent goes first."""
    max_connection_age_seconds: Annotated[float, Meta(gt=0, le=31_536_000)] = 300.0
    """Edges reconnect after this, so that new replicas get their part of them."""

    def __post_init__(self) -> None:
        _ = self.catalog

    @property
    def catalog(self) -> Whereabouts:
        """Where the catalog is."""
        return Whereabouts(self.catalog_path, self.catalog_secrets, self.catalog_namespace)

    def learning(self) -> float:
        """Return for how long a router without memory lends nothing new, in seconds."""
        if self.learn_seconds is not None:
            return self.learn_seconds
        return 0.0 if self.run_dir is not None else 30.0
