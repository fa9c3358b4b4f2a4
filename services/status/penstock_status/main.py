"""Entry point of the status process."""

from __future__ import annotations

import asyncio
import sys

from penstock_chassis import process
from penstock_chassis.http import HttpServer, listen
from penstock_chassis.identity import Component
from penstock_chassis.rpc_transport import Transport
from penstock_status.app import create_app
from penstock_status.bearer import BearerToken
from penstock_status.peers import Peers
from penstock_status.settings import StatusSettings


class StatusService:
    """The admin API between its start and its end."""

    def __init__(self, settings: StatusSettings) -> None:
        self._settings = settings
        self._transport = Transport(Component.STATUS, settings)
        self._channels = [
            self._transport.channel(settings.auth_address, Component.AUTH),
            self._transport.channel(settings.router_address, Component.ROUTER),
        ]
        self._certificates: asyncio.Task[None] | None = None
        self._server: HttpServer | None = None

    async def start(self) -> None:
        """Listen. Raises StartError, AddressTakenError."""
        settings = self._settings
        peers = Peers(
            *self._channels,
            deadline_seconds=settings.rpc_deadline_seconds,
            probe_seconds=settings.probe_deadline_seconds,
        )
        app = create_app(peers, BearerToken.read(settings.admin_token_file))
        listener = listen(settings.host, settings.port, reuse_port=settings.port_is_reserved)
        self._server = HttpServer(app, [listener])
        await self._server.begin()
        self._certificates = asyncio.create_task(self._transport.run(), name="certificates")

    async def drain(self, seconds: float) -> None:
        """Let open requests end."""
        if self._server is not None:
            await self._server.end(seconds)
        if self._certificates is not None:
            self._certificates.cancel()
            await asyncio.gather(self._certificates, return_exceptions=True)
        for channel in self._channels:
            await channel.close()

    def ready(self) -> tuple[bool, str]:
        """Whether it listens; whether its peers answer is asked on the admin port."""
        return (True, "") if self._server is not None else (False, "not listening yet")


def main() -> int:
    """Run until SIGTERM."""
    settings = process.told(StatusSettings)
    return process.run(lambda: StatusService(settings), settings)


if __name__ == "__main__":
    sys.exit(main())
