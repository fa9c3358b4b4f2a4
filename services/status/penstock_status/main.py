"""Entry point of the status process."""

from __future__ import annotations

import sys

from penstock_chassis import process, rpc
from penstock_chassis.http import HttpServer, listen
from penstock_status.app import create_app
from penstock_status.bearer import BearerToken
from penstock_status.peers import Peers
from penstock_status.settings import StatusSettings


class StatusService:
    """The admin API between its start and its end."""

    def __init__(self, settings: StatusSettings) -> None:
        self._settings = settings
        self._channels = [rpc.channel(settings.auth_address), rpc.channel(settings.router_address)]
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
        self._server = HttpServer(app, [listen(settings.host, settings.port)])
        await self._server.begin()

    async def drain(self, seconds: float) -> None:
        """Let open requests end."""
        if self._server is not None:
            await self._server.end(seconds)
        for channel in self._channels:
            await channel.close()

    def ready(self) -> tuple[bool, str]:
        """Whether it listens; whether its peers answer is asked on the admin port."""
        return (True, "") if self._server is not None else (False, "not listening yet")


def main() -> int:
    """Run until SIGTERM."""
    settings = StatusSettings()  # type: ignore[call-arg]  # the environment gives them
    return process.run(lambda: StatusService(settings), settings)


if __name__ == "__main__":
    sys.exit(main())
