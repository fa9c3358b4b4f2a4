"""chat.completions as clients speak it: heads of requests, and the way into and out of the canonical form."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.dialects.dialect import Head
from penstock_edge.dialects.openai_chat_answer import Writer, answer
from penstock_edge.dialects.openai_chat_fields import read_body, read_options, read_role
from penstock_edge.dialects.openai_chat_request import ReadRequest
from penstock_edge.dialects.openai_errors import OpenAIManners
from penstock_edge.dialects.plain_text import are_plain
from penstock_edge.dialects.unreadable import UNREADABLE, unreadable, wrong, wrong_type
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.splice import splice

if TYPE_CHECKING:
    from penstock_edge.canonical import Message, Request
    from penstock_edge.dialects.dialect import Birth
    from penstock_routing.affinity import Part

_ASKING: Final = b'{"include_usage":true}'
# Leading messages that may stay the same: instructions, and what was said first.
_MOST_LEADING: Final = 4
_MOST_TOKENS: Final = 2**31
_LAST_LEADING: Final = frozenset({"user", ""})
_ROLE_FIRST: Final = re.compile(rb'\{"role": ?"([a-z]+)"').match


# With an `__init__` of its own as the one that it inherits from.
@dataclass(slots=True, init=False)
class ChatHead(Head):
    """What the gateway must know of a chat request."""

    wants_usage: bool
    """The client asked for the chunk that tells usage."""
    options: bytes
    """`stream_options` as raw JSON; empty without."""

    def __init__(
        self,
        model: str,
        stream: bool,
        max_tokens: int,
        session: str,
        prefix: tuple[Part, ...],
        *,
        wants_usage: bool = False,
        options: bytes = b"",
        plain: bool = False,
    ) -> None:
        Head.__init__(self, model, stream, max_tokens, session, prefix, plain=plain)
        self.wants_usage = wants_usage
        self.options = options


class ChatConversation:
    """One request, understood."""

    __slots__ = ("_birth", "_head", "_read", "request")

    def __init__(self, head: Head, body: bytes, birth: Birth) -> None:
        self._read = ReadRequest(body)
        self._head = head
        self._birth = birth
        self.request: Request = self._read.request

    def answer(self, message: Message) -> bytes:
        """Return the body of a unary answer."""
        return answer(message, self._head.model, self._birth, self._read.names, legacy=self._read.legacy)

    def writer(self) -> Writer:
        """Return a writer for one attempt's stream."""
        wants = isinstance(self._head, ChatHead) and self._head.wants_usage
        names, legacy = self._read.names, self._read.legacy
        return Writer(self._head.model, self._birth, names, legacy=legacy, wants_usage=wants)

    def counted(self, tokens: int) -> bytes:
        """Return the body of a token count, which this format has no endpoint for."""
        return msgspec.json.encode({"input_tokens": tokens})


class ChatDialect(OpenAIManners):
    """The dialect; stateless."""

    name = "openai_chat"
    wire = "chat"

    def head(self, body: bytes) -> ChatHead:
        """Read the head of a request. Raises ProblemError (400)."""
        try:
            found = read_body(body)
        except UNREADABLE as error:
            raise unreadable(error) from None
        if not found.model:
            raise wrong("model", "String should have at least 1 character")
        options = bytes(found.stream_options)
        user = found.metadata.user_id if found.metadata is not None else None
        most = found.max_completion_tokens if found.max_completion_tokens is not None else found.max_tokens
        return ChatHead(
            model=found.model,
            stream=bool(found.stream),
            max_tokens=min(max(0, most or 0), _MOST_TOKENS),
            session=found.prompt_cache_key or found.user or found.safety_identifier or user or "",
            prefix=(found.tools, *_leading(found.messages)),
            wants_usage=_asks(options),
            options=b"" if options == b"null" else options,
            plain=are_plain(body, found.messages),
        )

    def forwarded(self, head: Head, body: bytes, upstream_model: str) -> bytes:
        """Return the body for an account of the same format: a stream always tells its usage."""
        changes: dict[str, bytes] = {}
        if upstream_model != head.model:
            changes["model"] = json.dumps(upstream_model).encode()
        if head.stream and isinstance(head, ChatHead) and not head.wants_usage:
            options = head.options
            changes["stream_options"] = splice(options, {"include_usage": b"true"}) if options else _ASKING
        return splice(body, changes) if changes else body

    def read(self, head: Head, body: bytes, birth: Birth) -> ChatConversation:
        """Understand a request whole. Raises ProblemError (400)."""
        try:
            return ChatConversation(head, body, birth)
        except RecursionError:
            raise ProblemError(invalid("the request body is nested too deeply")) from None

    def hides_usage(self, head: Head) -> bool:
        """Whether chunks that only tell usage are for the books alone."""
        return not (isinstance(head, ChatHead) and head.wants_usage)


def _asks(options: bytes) -> bool:
    if not options or options == b"null":
        return False
    try:
        return bool(read_options(options).include_usage)
    except UNREADABLE:
        if options.startswith(b"{"):
            raise wrong_type("stream_options.include_usage", "bool") from None
        raise wrong_type("stream_options", "object") from None


def _leading(messages: list[msgspec.Raw]) -> list[msgspec.Raw]:
    """Return the messages up to what a user said first, as raw JSON."""
    found: list[msgspec.Raw] = []
    for message in messages[:_MOST_LEADING]:
        found.append(message)
        if _role(message) in _LAST_LEADING:
            break
    return found


def _role(message: msgspec.Raw) -> str:
    """Return whose message it is, "" when it cannot be told. Where the role comes first, nothing else is read."""
    if (beginning := _ROLE_FIRST(message)) is not None:
        return beginning[1].decode()
    try:
        return read_role(message).role
    except UNREADABLE:
        return ""


DIALECT: Final = ChatDialect()
