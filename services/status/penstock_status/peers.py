"""The calls to auth and the router, each with a deadline, their failures as problems."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio

from penstock.auth.v1 import admin_pb2, admin_pb2_grpc
from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_chassis.tracing import outgoing
from penstock_status import problems

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Q = TypeVar("Q")
A = TypeVar("A")


class Peers:
    """Auth's administration and the router's observed state over two open channels."""

    def __init__(
        self, auth: grpc.aio.Channel, router: grpc.aio.Channel, *, deadline_seconds: float, probe_seconds: float
    ) -> None:
        self.admin = admin_pb2_grpc.AdminServiceStub(auth)
        self._router = router_pb2_grpc.RouterServiceStub(router)
        self._deadline_seconds = deadline_seconds
        self._probe_seconds = probe_seconds

    async def ask(self, method: Callable[..., Awaitable[A]], request: Q) -> A:
        """Make one unary call to auth. Raises Problem."""
        try:
            return await method(request, timeout=self._deadline_seconds, metadata=outgoing())
        except grpc.aio.AioRpcError as error:
            raise problems.of_rpc("auth", error.code(), error.details()) from error

    async def ask_once(self, method: Callable[..., Awaitable[A]], request: Q) -> A:
        """Make one that does another thing when it is made again. Raises Problem."""
        try:
            return await self.ask(method, request)
        except problems.PeerDown as down:
            raise problems.Unsure(down.detail) from down

    async def explain(self, request: router_pb2.ExplainRequest) -> router_pb2.ExplainResponse:
        """Return which accounts would serve such a request, and why. Raises Problem."""
        try:
            return await self._router.Explain(request, timeout=self._deadline_seconds, metadata=outgoing())
        except grpc.aio.AioRpcError as error:
            raise problems.of_rpc("router", error.code(), error.details()) from error

    async def observed(self) -> router_pb2.Observed:
        """Return the state of all accounts as the router sees it now. Raises Problem."""
        return await self._observed(self._deadline_seconds)

    async def unanswered(self) -> list[str]:
        """Return the names of the peers that do not answer now; empty when all is well."""
        auth, router = await asyncio.gather(self._auth_answers(), self._router_answers())
        return [name for name, answers in (("auth", auth), ("router", router)) if not answers]

    async def _observed(self, seconds: float) -> router_pb2.Observed:
        call = self._router.WatchObserved(router_pb2.WatchObservedRequest(), timeout=seconds)
        try:
            async for observed in call:
                return observed
            raise problems.PeerDown("router ended the stream without an answer")
        except grpc.aio.AioRpcError as error:
            raise problems.of_rpc("router", error.code(), error.details()) from error
        finally:
            call.cancel()

    async def _auth_answers(self) -> bool:
        try:
            await self.admin.ListPlans(admin_pb2.ListPlansRequest(), timeout=self._probe_seconds)
        except grpc.aio.AioRpcError:
            return False
        return True

    async def _router_answers(self) -> bool:
        try:
            await self._observed(self._probe_seconds)
        except problems.Problem:
            return False
        return True
