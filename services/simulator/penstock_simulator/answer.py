"""What a wire format hands over to be delivered: one body, or events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from penstock_simulator.records import Usage


@dataclass(slots=True)
class Event:
    """One event of a stream, as it goes over the wire."""

    data: bytes
    chars: int = 0
    """Output characters in it; more than none makes it a delta."""
    usage: Usage | None = None
    """Usage told by it; replaces what was told before."""
    phase: int = 1
    """0: opening, 1: content, 2: closing."""
    paced: bool = False
    """Waits for `pace` before it."""


@dataclass(slots=True)
class Answer:
    """A good answer."""

    headers: list[tuple[str, str]]
    media_type: str = "application/json"
    body: bytes = b""
    events: Iterator[Event] | None = None
    usage: Usage | None = None
    """Of a body: what it tells."""
    chars: int = 0
    """Of a body: output characters in it."""
    input_tokens: int = 0
    """Whole input in truth."""
    stop_reason: str = ""
    error_event: bytes | Callable[[], bytes] = b""
    """Of a stream: the event (or events) for a fault within it; asked for when the fault strikes."""
    error_type: str = "overloaded_error"
    """What that event tells."""
