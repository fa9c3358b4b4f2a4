"""Spans and who is traced, without any library: what costs nothing where nobody asked for traces.

`telemetry` sends spans to a collector, and is imported only when one is named. The context of the call that is going
on (`CURRENT`) is what logs show and what calls to other processes carry on.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Kind = Literal["internal", "server", "client"]
Attributes = dict[str, "str | int | float | bool"]

HEADER: Final = "traceparent"
_LENGTH: Final = 55
_HEX: Final = frozenset("0123456789abcdef")
_SAMPLED: Final = 1
_LONGEST_GAP: Final = 2**62


class TraceContext(NamedTuple):
    """A trace and the span in it that is going on."""

    trace_id: int
    span_id: int
    sampled: bool = True

    def header(self) -> str:
        """Return it as W3C's `traceparent`."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"

    def child(self) -> TraceContext:
        """Return the same trace with a new span."""
        return self._replace(span_id=new_span_id())


CURRENT: Final[ContextVar[TraceContext | None]] = ContextVar("penstock_trace", default=None)
"""The span that is going on, where it is traced."""


def new_root() -> TraceContext:
    """Begin a trace."""
    return TraceContext(random.getrandbits(128) or 1, new_span_id())


def new_span_id() -> int:
    """Return a span id, which is never 0."""
    return random.getrandbits(64) or 1


def parse(header: str | bytes) -> TraceContext | None:
    """Read W3C's `traceparent`; None for anything that is none."""
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    text = text.strip()
    # Later versions may be longer; what they begin with stays.
    if len(text) < _LENGTH or (len(text) > _LENGTH and (text.startswith("00") or text[_LENGTH] != "-")):
        return None
    version, trace, span, flags = text[:2], text[3:35], text[36:52], text[53:55]
    dashes = text[2] == text[35] == text[52] == "-"
    if not dashes or version == "ff" or not _HEX.issuperset(version + trace + span + flags):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def outgoing(context: TraceContext | None = None) -> tuple[tuple[str, str], ...] | None:
    """Return the gRPC metadata that carries a context on, by default the current one; None when nothing is traced."""
    context = context or CURRENT.get()
    return None if context is None else ((HEADER, context.header()),)


@dataclass(slots=True)
class Span:
    """One span that has ended. Times are unix nanoseconds; `error` is what went wrong, in a word."""

    name: str
    context: TraceContext
    parent_id: int
    start_ns: int
    end_ns: int
    kind: Kind = "internal"
    attributes: Attributes = field(default_factory=dict)
    events: tuple[tuple[str, int], ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which requests are traced: a fraction by lot.

    If `parent_based`, of those that carry a context, exactly those that the caller traces.
    """

    ratio: float
    parent_based: bool


class Lot:
    """Draws with a fraction, at the price of one comparison: it is the gaps between two hits that are drawn.

    `rng` gives floats in [0, 1).
    """

    __slots__ = ("_left", "_ratio", "_rng")

    def __init__(self, ratio: float, rng: Callable[[], float] = random.random) -> None:
        self._ratio = ratio
        self._rng = rng
        self._left = self._gap()

    def drawn(self) -> bool:
        """Whether the next one is hit."""
        if self._left:
            self._left -= 1
            return False
        self._left = self._gap()
        return True

    def _gap(self) -> int:
        """Return how many are passed over before the next hit: a geometric distribution."""
        if self._ratio <= 0:
            return _LONGEST_GAP
        if self._ratio >= 1:
            return 0
        return int(min(math.log(1.0 - self._rng()) / math.log1p(-self._ratio), _LONGEST_GAP))


class Sink(Protocol):
    """Takes spans that have ended."""

    def put(self, spans: Iterable[Span]) -> None:
        """Queue them; never waits and never raises."""
        ...


class Tracer:
    """Who is traced in this process, and where the spans go."""

    def __init__(self, sampling: Sampling, sink: Sink, rng: Callable[[], float] = random.random) -> None:
        self.sampling = sampling
        self.put = sink.put
        self.drawn = Lot(sampling.ratio, rng).drawn

    def joins(self, header: str | bytes | None) -> tuple[TraceContext, int] | None:
        """Return the context of a call that begins, and its parent's id (0: none); None when it is not traced.

        For calls of peers that are believed: theirs is the decision.
        """
        parent = parse(header) if header is not None and self.sampling.parent_based else None
        if parent is not None:
            return (parent.child(), parent.span_id) if parent.sampled else None
        return (new_root(), 0) if self.drawn() else None


class _Active:
    """The tracer of this process: one, as there is one log."""

    tracer: Tracer | None = None


def active() -> Tracer | None:
    """Return the tracer; None when nothing is traced."""
    return _Active.tracer


def activate(tracer: Tracer | None) -> None:
    """Trace with it from now on. What is made before asks for nothing later, so this comes first in a process."""
    _Active.tracer = tracer


@contextlib.contextmanager
def work(name: str) -> Iterator[None]:
    """Make a trace of work that nobody asked for, if the lot hits it; calls that are made in it belong to it."""
    tracer = active()
    if tracer is None or not tracer.drawn():
        yield
        return
    context, error = new_root(), ""
    token = CURRENT.set(context)
    began = time.time_ns()
    try:
        yield
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        CURRENT.reset(token)
        tracer.put([Span(name, context, 0, began, time.time_ns(), error=error)])
