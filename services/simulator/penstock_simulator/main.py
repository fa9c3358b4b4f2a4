"""Entry point of the simulator process."""

from __future__ import annotations

import sys

from penstock_chassis import process
from penstock_simulator.server import Simulator
from penstock_simulator.settings import SimulatorSettings


class SimulatorService:
    """The simulator as a process runs it."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._simulator = Simulator(settings)
        self._serving = False

    async def start(self) -> None:
        """Listen."""
        await self._simulator.start()
        self._serving = True

    async def drain(self, seconds: float) -> None:
        """Let open answers end."""
        self._serving = False
        await self._simulator.stop(seconds)

    def ready(self) -> tuple[bool, str]:
        """Whether it listens."""
        return self._serving, "" if self._serving else "not listening"


def main() -> None:
    """Run until SIGTERM."""
    settings = process.told(SimulatorSettings)
    sys.exit(process.run(lambda: SimulatorService(settings), settings))


if __name__ == "__main__":
    main()
