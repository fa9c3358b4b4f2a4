"""A transport that can hold back small writes, so that an answer's head and body leave in one packet and one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

SCOPE_KEY = "penstock.cork"


class Cork:
    """Wraps a client connection's transport; writes pass unless it is shut."""

    __slots__ = (
        "_held",
        "_transport",
        "get_extra_info",
        "is_closing",
        "pause_reading",
        "resume_reading",
        "set_protocol",
    )

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] | None = None
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.set_protocol = transport.set_protocol

    def shut(self) -> None:
        """Hold back what is written from now on."""
        if self._held is None:
            self._held = []

    def pull(self) -> None:
        """Write what was held back, and hold back no more."""
        held, self._held = self._held, None
        if held:
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def write(self, data: bytes) -> None:
        """Write, now or when the cork is pulled."""
        if self._held is None:
            self._transport.write(data)
        else:
            self._held.append(data)

    def close(self) -> None:
        """Close when everything is written."""
        self.pull()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """Give everything else as the transport has it."""
        return getattr(self._transport, name)
