"""What the simulator served, per account and request: the other side of the books."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Usage(msgspec.Struct, gc=False):
    """Token counts, the same for every wire format. The whole input is the four input counts added."""

    input_tokens: int = 0
    """Neither read from the cache nor written to it."""
    output_tokens: int = 0
    """All of it, thinking (reasoning) included."""
    cache_read_input_tokens: int = 0
    cache_write_5m_input_tokens: int = 0
    cache_write_1h_input_tokens: int = 0


class Record(msgspec.Struct):
    """One request, kept up to date while it is served: what it says has been handed to the kernel."""

    seq: int
    account: str
    """Empty: the credential was missing or unknown."""
    operation: str
    """messages, embeddings, count_tokens or models."""
    upstream_request_id: str
    format: str = ""
    """anthropic, openai_chat, openai_responses, openai_embeddings, openai_models or gemini."""
    request_id: str = ""
    """The `x-request-id` header as received: a gateway's own id."""
    target: str = ""
    """Path and query."""
    model: str = ""
    streamed: bool = False
    status: int = 0
    """Status sent; 0: none yet."""
    fault: str = ""
    error_type: str = ""
    """Error type sent, as a status or as an event."""
    stop_reason: str = ""
    usage: Usage = msgspec.field(default_factory=Usage)
    """What the bytes sent so far have told."""
    reported: bool = False
    """Whether they have told any usage."""
    input_tokens: int = 0
    """Whole input of the request in truth."""
    relayed_tokens: int = 0
    """Output tokens in truth of the deltas sent: ceil(relayed_chars / 4)."""
    relayed_chars: int = 0
    sent_bytes: int = 0
    """Body bytes sent."""
    complete: bool = False
    """The whole answer went out in due form."""
    state: Literal["open", "complete", "refused", "broken", "client_left"] = "open"
    """refused: an error status; broken: a fault ended it."""
    arrived_at: float = 0.0
    """Unix seconds at which the whole request was there."""
    arrived: float = 0.0
    """The same, monotonic clock."""
    first_byte: float | None = None
    """Monotonic."""
    ended: float | None = None
    """Monotonic."""
    ended_at: float | None = None
    client_left: float | None = None
    """Monotonic time at which the client was seen to be gone before the end."""
    concurrent: int = 0
    """Open messages and embeddings of the account on arrival, this one included; 0 for count_tokens and models."""
    body_bytes: int = 0
    body_sha256: str = ""
    header_names: tuple[str, ...] = ()
    """Received header names, lower case, in order."""
    headers: list[tuple[str, str]] | None = None
    """With `keep_bodies`: as received, credentials blotted out."""
    body: bytes | None = None
    """With `keep_bodies`: as received (base64 in JSON)."""
    answer: bytearray | None = None
    """With `keep_bodies`: body bytes sent (base64 in JSON)."""


class Records:
    """The latest records, oldest first."""

    def __init__(self, limit: int) -> None:
        self._kept: deque[Record] = deque(maxlen=limit)
        self._seq = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._kept)

    def next_seq(self) -> int:
        """Return the next request's number, from 1."""
        self._seq += 1
        return self._seq

    def add(self, record: Record) -> None:
        """Keep a record; the oldest goes when there are too many."""
        if len(self._kept) == self._kept.maxlen:
            self.dropped += 1
        self._kept.append(record)

    def clear(self) -> None:
        """Forget all; numbers go on."""
        self._kept.clear()
        self.dropped = 0

    def select(
        self,
        *,
        account: str | None = None,
        request_id: str | None = None,
        operation: str | None = None,
        format: str | None = None,  # noqa: A002 -- the field's name, in Python as in a query
        after: int = 0,
    ) -> list[Record]:
        """Return the records with a number above `after` that match."""
        return [
            record
            for record in self._kept
            if record.seq > after
            and (account is None or record.account == account)
            and (request_id is None or record.request_id == request_id)
            and (operation is None or record.operation == operation)
            and (format is None or record.format == format)
        ]
