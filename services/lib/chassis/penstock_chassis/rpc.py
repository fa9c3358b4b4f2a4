"""gRPC channels and servers as every process opens them: short back-off, health, sockets that only we can open."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from penstock_chassis import tracing
from penstock_chassis.http import AddressTakenError
from penstock_chassis.rpc_measuring import Measuring
from penstock_chassis.rpc_renewal import RenewingChannel
from penstock_chassis.rpc_tracing import Traced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock_chassis.certificates import Certificates, Material

# Snapshots of hundreds of accounts and batches of settlements are larger than gRPC's 4 MB default.
_MESSAGE_BYTES = 64 * 1024 * 1024

# All calls of a channel go to one replica, which knows its caller's streams; which one is drawn by lot. Reads that a
# person waits for are repeated when the replica goes away; everything else is repeated by who knows what that means.
_SERVICE_CONFIG: dict[str, Any] = {
    "loadBalancingConfig": [{"pick_first": {"shuffleAddressList": True}}],
    "methodConfig": [
        {
            "name": [
                {"service": "penstock.auth.v1.AuthService", "method": "GetUsage"},
                {"service": "penstock.router.v1.RouterService", "method": "Explain"},
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}

_CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # gRPC's own back-off took 4.4 s to find a restarted auth; these take 0.4 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # How long one attempt to connect may take, shaking hands included: a busy machine must not be given up too soon.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    # Names are looked up anew when a replica goes away; gRPC would otherwise keep to old addresses for half a minute.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # A replica that is frozen, or whose machine is gone, is given up after four seconds: less than a request waits.
    # gRPC 1.85 ends no connection for keepalive_timeout_ms; what counts is how long it waits for any ping's answer.
    ("grpc.keepalive_time_ms", 1_500),
    ("grpc.keepalive_timeout_ms", 2_500),
    ("grpc.http2.ping_timeout_ms", 2_500),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
    # Each channel has connections of its own, so that one stuck stream never starves another caller in tests.
    ("grpc.use_local_subchannel_pool", 1),
]


def channel(address: str) -> grpc.aio.Channel:
    """Open a channel to `unix:/path`, `host:port` or `ipv4:address:port,...`; it connects, and reconnects, by itself.

    Where the host has several addresses, or several are given, each is a replica, of which one is used at a time.
    """
    return grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)


def secure_channel(address: str, certificates: Certificates, server_name: str) -> grpc.aio.Channel:
    """Open the same with the certificate in force, to a server whose certificate must bear `server_name`."""
    options = [*_CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", server_name)]

    def connect(material: Material) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(address, material.channel_credentials(), options=options)

    return RenewingChannel(certificates, connect)


def is_unix(address: str) -> bool:
    """Whether this is a socket in the file system, where its mode says who may connect."""
    return address.startswith("unix:")


class RpcServer:
    """A gRPC server with health checking on one address.

    `add` the servicers to `.server` before `begin`. Without credentials it speaks plain text.
    """

    def __init__(
        self,
        address: str,
        *,
        max_connection_age_seconds: float = 300.0,
        credentials: grpc.ServerCredentials | None = None,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    ) -> None:
        self.address = address
        self._credentials = credentials
        options: list[tuple[str, Any]] = [
            # New replicas get traffic only when clients reconnect now and then.
            ("grpc.max_connection_age_ms", int(max_connection_age_seconds * 1000)),
            ("grpc.max_connection_age_grace_ms", 30_000),
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MESSAGE_BYTES),
            # Callers ping when nothing was said for a second and a half; pings less often than this are no abuse.
            ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.so_reuseport", 0),
        ]
        tracer = tracing.active()
        traced = () if tracer is None else (Traced(tracer),)
        self.server = grpc.aio.server(options=options, interceptors=(Measuring(), *traced, *interceptors))
        self.health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        self.port = 0

    async def begin(self) -> None:
        """Listen and serve. A stale unix socket is replaced; ours can be opened by its owner only.

        Raises AddressTakenError.
        """
        path = _socket_path(self.address)
        if path is None and not _has_port(self.address):
            # gRPC would take 443 for a port that is missing, and the lower bits of one that there is not.
            raise AddressTakenError(f"cannot serve at {self.address}: it does not end in a port from 0 to 65535")
        try:
            self._bind(path)
        except (RuntimeError, OSError) as error:
            reason = f": {error.strerror}" if isinstance(error, OSError) else ""
            raise AddressTakenError(f"cannot serve at {self.address}{reason}") from error
        await self.server.start()
        await self.health.set("", health_pb2.HealthCheckResponse.SERVING)

    def _bind(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.unlink(missing_ok=True)
        # A socket is open to whom its mode lets in from the first moment, and who came in stays.
        before = os.umask(0o177)
        try:
            if self._credentials is None:
                self.port = self.server.add_insecure_port(self.address)
            else:
                self.port = self.server.add_secure_port(self.address, self._credentials)
        finally:
            os.umask(before)

    async def end(self, seconds: float) -> None:
        """Refuse new calls at once, let open unary calls end within `seconds`, then cut the rest."""
        await self.health.enter_graceful_shutdown()
        await self.server.stop(seconds)
        path = _socket_path(self.address)
        if path is not None:
            path.unlink(missing_ok=True)


def _has_port(address: str) -> bool:
    port = address.rpartition(":")[2]
    return port.isascii() and port.isdigit() and int(port) <= 65535


def _socket_path(address: str) -> Path | None:
    return Path(address.removeprefix("unix:")) if is_unix(address) else None
