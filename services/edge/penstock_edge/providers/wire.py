"""What the gateway asks of every wire format that accounts speak. Pure: no I/O, no clock, no chance."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock_edge import canonical
    from penstock_edge.providers.failure import Failure
    from penstock_edge.upstream import Target
    from penstock_edge.usage import UsageMeter
    from penstock_routing.accounts import Hints

Headers = list[tuple[bytes, bytes]]


class Signal(IntEnum):
    """What an event means for the relay."""

    PRELUDE = 0
    """Nothing that a user would see: held back until output begins."""
    OUTPUT = 1
    STOP = 2
    """The stream's proper end."""
    ERROR = 3
    BROKEN = 4
    """Not an event of this format."""
    USAGE = 5
    """Figures for the books, which the client sees only if it asked for them."""


@dataclass(frozen=True, slots=True)
class Addressee:
    """Who a translated request is written for."""

    provider: str
    """Such as `OpenAI` or `OpenAICompatible`."""
    model: str
    """The upstream's name of the model."""
    max_output_tokens: int
    """The most that the model can say; 0 when unknown."""


@dataclass(slots=True)
class Written:
    """A request as an upstream reads it. `ignored`: canonical fields (as paths) that it could not carry."""

    body: bytes
    ignored: list[str] = field(default_factory=list)


class Sniffer(Protocol):
    """Follows a stream whose bytes pass untouched: usage, how much was said, and what each event means."""

    characters: int
    """Characters of all deltas so far: text, thinking, tool input."""
    failure: Failure | None
    """Set by an error event."""

    def observe(self, raw: bytes) -> Signal:
        """Read one whole event."""
        ...

    def at_end(self) -> Signal:
        """Say what it means that the body ended here, in due form: STOP or BROKEN."""
        ...


class EventParser(Protocol):
    """Reads one stream into canonical events, in canonical order and complete: see `penstock_edge.canonical`."""

    def feed(self, raw: bytes) -> Sequence[canonical.Event]:
        """Return what one whole event says; MessageStop and Failed are the last. Raises canonical.UnreadableError."""
        ...

    def end(self) -> Sequence[canonical.Event]:
        """Return the closing events when the body may end here; raises canonical.UnreadableError when it broke off."""
        ...


class Wire(Protocol):
    """One wire format as accounts speak it."""

    @property
    def name(self) -> str:
        """`messages`, `chat`, `responses`, `generate` or `embeddings`."""
        ...

    @property
    def request_id_header(self) -> bytes:
        """The header in which an upstream names a request, lower case."""
        ...

    def path(self, model: str, *, streamed: bool, counting: bool) -> bytes:
        """Return the path below the account's base URL, as this provider's own SDK makes it."""
        ...

    def query(self, client: bytes, *, streamed: bool) -> bytes:
        """Return the query string, of which `client` may hold parts that must pass (b"" when translated)."""
        ...

    def head(
        self,
        target: Target,
        path: bytes,
        query: bytes,
        credential: bytes,
        client: Headers,
        request_id: str,
        length: int,
    ) -> bytes:
        """Return the bytes of a request's head. `client`: its headers when bytes pass, [] when translated."""
        ...

    # Same wire format: bytes pass.

    def read_answer(self, body: bytes, meter: UsageMeter) -> bool:
        """Take over the usage of a unary answer; False when the body cannot be one."""
        ...

    def sniffer(self, meter: UsageMeter) -> Sniffer:
        """Return a sniffer for one stream, which merges what it hears of usage into `meter`."""
        ...

    # Another one: through the canonical form.

    def write(self, request: canonical.Request, to: Addressee, *, streamed: bool) -> Written:
        """Write a request, never changing `request`. Raises ProblemError (400, naming the field)."""
        ...

    def write_count(self, request: canonical.Request, to: Addressee) -> Written:
        """Write a request to count tokens. Raises ProblemError where the format has none."""
        ...

    def parse(self, body: bytes) -> canonical.Message:
        """Read a unary answer. Raises canonical.UnreadableError."""
        ...

    def parse_count(self, body: bytes) -> int:
        """Read a token count. Raises canonical.UnreadableError."""
        ...

    def parser(self) -> EventParser:
        """Return a parser for one stream."""
        ...

    # Either way.

    def of_status(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Return what an error answer means for health, for the next attempt and, if it is at fault, for the client."""
        ...

    def hints(self, headers: Headers) -> Hints | None:
        """Return what an answer says of the account's own limits; None when it says nothing."""
        ...
