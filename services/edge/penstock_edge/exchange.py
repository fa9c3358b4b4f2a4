"""One request from its arrival to its settlement: everything that is known of it, in one place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from penstock_edge.records import AttemptRecord, Closed, Opened
from penstock_edge.usage import UsageMeter
from penstock_routing import outcomes

if TYPE_CHECKING:
    import asyncio

    from penstock_edge.dialects.dialect import Conversation, Dialect, Head, Headers
    from penstock_edge.errors import Problem
    from penstock_edge.passage import Follower, Passage
    from penstock_edge.price import Price
    from penstock_edge.providers.failure import Failure
    from penstock_edge.records import Admitted, DeliveryState
    from penstock_edge.relay import StreamRelay
    from penstock_edge.reply import Reply
    from penstock_edge.snapshot import Model
    from penstock_edge.tracing import Trace
    from penstock_edge.turn import Turn
    from penstock_edge.unattended import Unattended
    from penstock_edge.upstream import Call
    from penstock_routing import AccountFacts, Pick, Traits

Interruption = Literal["", "client_left", "draining"]


class Attempt:
    """One try at one account, while it goes on."""

    __slots__ = (
        "account",
        "call",
        "characters",
        "cls",
        "failure",
        "index",
        "meter",
        "passage",
        "pick",
        "relay",
        "sent_at",
        "started_ms",
        "status",
        "unsent",
        "upstream_model",
    )

    def __init__(self, index: int, account: AccountFacts, pick: Pick, upstream_model: str, passage: Passage) -> None:
        self.passage = passage
        self.index = index
        self.account = account
        self.pick = pick
        self.upstream_model = upstream_model
        self.meter = UsageMeter()
        self.call: Call | None = None
        self.relay: StreamRelay | None = None
        """Of its answer, where that is a stream."""
        self.cls = outcomes.UNSTABLE
        self.status = 0
        self.failure: Failure | None = None
        self.unsent = False
        """The spool refused the request, so nothing was sent."""
        self.characters = 0
        """Characters of the deltas that were read from its stream."""
        self.sent_at = time.monotonic()
        self.started_ms = time.time_ns() // 1_000_000

    def record(self, now: float, loop_offset: float) -> AttemptRecord:
        """Return the attempt as the ledger keeps it; `loop_offset` is the monotonic clock minus the loop's."""
        call = self.call
        first_byte_ms = -1
        upstream_id = ""
        if call is not None and call.first_byte_at:
            first_byte_ms = max(0, int((call.first_byte_at + loop_offset - self.sent_at) * 1000))
            upstream_id = (call.header(self.passage.wire.request_id_header) or b"")[:128].decode("latin-1")
        return AttemptRecord(
            index=self.index,
            account=self.account.name,
            cls=self.cls,
            status=self.status,
            usage=self.meter.usage(),
            reported=self.meter.reported,
            upstream_request_id=upstream_id,
            started_at_ms=self.started_ms,
            first_byte_ms=first_byte_ms,
            duration_ms=max(0, int((now - self.sent_at) * 1000)),
            upstream_model=self.upstream_model,
        )


class Exchange:
    """One client's request and what has become of it."""

    __slots__ = (
        "admitted",
        "asked_model",
        "attempts",
        "blobs",
        "body",
        "body_bytes",
        "body_read",
        "characters",
        "client_headers",
        "conversation",
        "current",
        "delivered",
        "dialect",
        "digest",
        "error_forwarded",
        "final_usage",
        "follower",
        "head",
        "ignored",
        "interrupted",
        "model",
        "opened",
        "operation",
        "origins",
        "output_committed",
        "over",
        "price",
        "query",
        "refusal",
        "reply",
        "request_id",
        "started_at",
        "streamed",
        "task",
        "trace",
        "traits",
        "turn",
        "unattended",
        "waited",
    )

    def __init__(self, request_id: str, turn: Turn, reply: Reply, dialect: Dialect, operation: str) -> None:
        self.request_id = request_id
        self.turn = turn
        self.reply = reply
        self.dialect = dialect
        self.operation = operation
        self.started_at = time.monotonic()
        self.client_headers: Headers = []
        """Gone with the body."""
        self.query = b""
        self.body = b""
        """Gone once the output of a stream has begun."""
        self.body_bytes = 0
        self.blobs = False
        """It may hold images or documents as base64."""
        self.body_read = False
        """Nothing of it is still on its way."""
        self.digest = b""
        self.head: Head | None = None
        self.conversation: Conversation | None = None
        """The request understood whole, once an account of another wire format has made that necessary."""
        self.origins: frozenset[str] = frozenset()
        """The providers that signed thinking in it, as far as our tags tell."""
        self.ignored: tuple[str, ...] = ()
        """What of the request the last attempt could not carry."""
        self.refusal: Problem | None = None
        """What the client is told if nobody else can do it: why an account would or could not take the request."""
        self.follower: Follower | None = None
        """Of the attempt whose stream reaches, or last reached, the client."""
        self.asked_model = ""
        self.streamed = False
        self.model: Model | None = None
        self.price: Price | None = None
        self.traits: Traits | None = None
        self.trace: Trace | None = None
        """What is noted of it, where it is traced."""
        self.admitted: Admitted | None = None
        self.waited = False
        """Auth had to be asked, so the client may have left meanwhile."""
        self.opened: Opened | None = None
        self.attempts: list[AttemptRecord] = []
        self.current: Attempt | None = None
        """The attempt that is going on."""
        self.characters = 0
        """Characters of deltas of the last attempt."""
        self.final_usage = False
        """The last attempt's upstream has said what its whole answer used."""
        self.delivered = -1
        self.output_committed = False
        self.error_forwarded = False
        """The upstream's own error event has gone out."""
        self.interrupted: Interruption = ""
        self.over = False
        self.task: asyncio.Task[Any] | None = None
        self.unattended: Unattended | None = None
        """What waits for the upstream where no task does."""

    @property
    def asked(self) -> Head:
        """What was read of the request: there from before it is admitted."""
        head = self.head
        assert head is not None  # noqa: S101 -- set before serve
        return head

    def forget_request(self) -> None:
        """Let go of what was sent, which nobody will be sent again: a stream would keep it as long as it lasts.

        The client's key is among it.
        """
        self.body = b""
        self.client_headers = []
        self.turn.headers = self.client_headers
        if self.head is not None:
            self.head.prefix = ()
        if self.current is not None:
            self.current.passage.body = b""

    def interrupt(self, why: Interruption) -> None:
        """End the exchange from outside: its task wakes at once, wherever it waits; where none waits, one begins."""
        if self.over or self.interrupted:
            return
        self.interrupted = why
        if self.task is not None:
            self.task.cancel()
        elif self.unattended is not None:
            self.unattended.interrupted()

    def client_left(self) -> None:
        """End the exchange because its client has gone, before the first byte too."""
        self.interrupt("client_left")

    def closed(self, state: DeliveryState, *, estimated: bool) -> Closed:
        """Return the spool's record of its end."""
        return Closed(
            request_id=self.request_id,
            state=state,
            estimated=estimated,
            delivered=self.delivered,
            attempts=self.attempts,
            ended_at_ms=time.time_ns() // 1_000_000,
            client_status=self.reply.status,
        )
