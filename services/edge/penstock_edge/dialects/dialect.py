"""What the gateway asks of every dialect. Implementations are stateless singletons; one request is a Conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from penstock_routing.affinity import Part  # noqa: TC001 -- a compiled dataclass looks it up

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge import canonical
    from penstock_edge.errors import Problem
    from penstock_edge.limits import LimitState

Headers = list[tuple[bytes, bytes]]


# Of every request, so it is made by an `__init__` of its own: the one of a dataclass is slow in compiled modules.
@dataclass(slots=True, init=False)
class Head:
    """What the gateway must know of any request, read without decoding the rest.

    A dialect may subclass it for what it wants to remember itself.
    """

    model: str
    """As the client wrote it."""
    stream: bool
    """The answer is to be streamed."""
    max_tokens: int
    """0 when the client did not say."""
    session: str
    """The client's own name of its conversation or user, "" without one."""
    prefix: tuple[Part, ...]
    """The parts that stay the same from turn to turn (tools, system, first message), as raw JSON."""
    plain: bool
    """The request is known to hold neither images nor documents nor signatures; False when nobody has looked."""
    follows: str
    """The id of the answer, stored by the account that made it, from which this goes on; "" for none."""
    stored: bool
    """The account that makes the answer is to store it."""

    def __init__(
        self,
        model: str,
        stream: bool,
        max_tokens: int,
        session: str,
        prefix: tuple[Part, ...],
        *,
        plain: bool = False,
        follows: str = "",
        stored: bool = False,
    ) -> None:
        self.model = model
        self.stream = stream
        self.max_tokens = max_tokens
        self.session = session
        self.prefix = prefix
        self.plain = plain
        self.follows = follows
        self.stored = stored


@dataclass(frozen=True, slots=True)
class Birth:
    """What an answer's ids and times are made of, so that translation needs neither clock nor chance."""

    request_id: str
    """`req_` and 32 hex digits."""
    created: int
    """Unix seconds."""
    input_tokens: int = 0
    """About how many the request holds, for formats that tell before the upstream does; 0 when unknown."""


class EventWriter(Protocol):
    """Writes one translated stream, canonical events in, the dialect's bytes out."""

    def write(self, event: canonical.Event) -> bytes:
        """Return what goes out for an event, b"" for nothing. MessageStop gives the dialect's proper end.

        Never called with Failed or UsageSoFar.
        """
        ...

    def fail(self, problem: Problem) -> bytes:
        """Return what ends the stream instead of its proper end, whatever has gone out so far."""
        ...


class Framing(Protocol):
    """What a stream of the client's own wire format passes: puts its events into another form than SSE, or follows it.

    Its end is of one piece with what has passed, proper or not.
    """

    def event(self, raw: bytes) -> bytes:
        """Return what goes out for one whole SSE event."""
        ...

    def close(self) -> bytes:
        """Return what goes out at the proper end."""
        ...

    def fail(self, problem: Problem, request_id: str) -> bytes:
        """Return what goes out instead of the proper end."""
        ...


class Conversation(Protocol):
    """One request, understood: what it says canonically, and how its answer is written."""

    request: canonical.Request

    def answer(self, message: canonical.Message) -> bytes:
        """Return the body of a unary answer."""
        ...

    def writer(self) -> EventWriter:
        """Return a writer for one attempt's stream."""
        ...

    def counted(self, tokens: int) -> bytes:
        """Return the body of a token count (only called by dialects that count)."""
        ...


class Dialect(Protocol):
    """One wire format as clients speak it."""

    @property
    def name(self) -> str:
        """`anthropic`, `openai_chat`, `openai_responses`, `openai_embeddings` or `gemini`."""
        ...

    @property
    def wire(self) -> str:
        """The wire format (`penstock_edge.providers.wire`) that is the same, byte for byte."""
        ...

    def forwarded(self, head: Head, body: bytes, upstream_model: str) -> bytes:
        """Return the body for an account of the same wire format: untouched but for what the gateway must change."""
        ...

    def read(self, head: Head, body: bytes, birth: Birth) -> Conversation:
        """Understand a request whole. Raises ProblemError (400, naming the field) for what is wrong or uncarriable."""
        ...

    def ping(self, head: Head) -> bytes:
        """Return a keep-alive that is legal anywhere between two events of a stream, and before the first."""
        ...

    def stream_headers(self, head: Head) -> Headers:
        """Return the headers of a streamed answer; a new list."""
        ...

    def framing(self, head: Head) -> Framing | None:
        """Return what a stream of this wire format passes on its way to the client; None where events just pass."""
        ...

    def hides_usage(self, head: Head) -> bool:
        """Whether events that only tell usage (Signal.USAGE) are for the books alone: the client did not ask."""
        ...

    def error_status(self, problem: Problem) -> int:
        """Return the status that this dialect's clients understand."""
        ...

    def error_headers(self, problem: Problem) -> Headers:
        """Return the headers of an error answer, but for request-id and limits; a new list."""
        ...

    def error_body(self, problem: Problem, request_id: str) -> bytes:
        """Return the error envelope. `problem.detail`, if any, is an error object of this wire format."""
        ...

    def error_event(self, problem: Problem, request_id: str, head: Head) -> bytes:
        """Return what ends a stream of this wire format that cannot be finished, unless `framing` knows better."""
        ...

    def limit_headers(self, states: Iterable[LimitState], now: float) -> Headers:
        """Return the remaining limits as this dialect's clients read them; `now` is unix seconds."""
        ...
