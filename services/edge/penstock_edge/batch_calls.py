"""The two calls that go out in batches. What they send is serialized when it happens, so they take bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from penstock.auth.v1 import auth_pb2
from penstock.router.v1 import router_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import grpc.aio


class Settle(Protocol):
    """Auth's Settle, with a serialized `SettleRequest`. Raises AioRpcError."""

    def __call__(self, request: bytes, *, timeout: float) -> Awaitable[auth_pb2.SettleResponse]:
        """Return auth's answer."""
        ...


class Report(Protocol):
    """The router's Report, with a serialized `ReportRequest`. Raises AioRpcError."""

    def __call__(self, request: bytes, *, timeout: float) -> Awaitable[router_pb2.ReportResponse]:
        """Return the router's answer."""
        ...


def settle(channel: grpc.aio.Channel) -> Settle:
    """Return the call on a channel to auth."""
    call: Settle = channel.unary_unary(
        "/penstock.auth.v1.AuthService/Settle", response_deserializer=auth_pb2.SettleResponse.FromString
    )
    return call


def report(channel: grpc.aio.Channel) -> Report:
    """Return the call on a channel to the router."""
    call: Report = channel.unary_unary(
        "/penstock.router.v1.RouterService/Report", response_deserializer=router_pb2.ReportResponse.FromString
    )
    return call
