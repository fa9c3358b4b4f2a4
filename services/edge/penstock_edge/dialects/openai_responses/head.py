"""Reads the head of a Responses request, and prepares its bytes for an account of the same format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge.dialects.dialect import Head
from penstock_edge.dialects.openai_responses.fields import read_body, read_item
from penstock_edge.dialects.unreadable import UNREADABLE, unreadable
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.splice import splice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.dialects.openai_responses.fields import Body
    from penstock_routing.affinity import Part

_NOTHING: Final = frozenset({b"", b"null", b'""'})
_DEFAULT_INSTRUCTIONS: Final = b'"You are a coding agent. Do what the user asks, carefully and completely."'
_ENCRYPTED: Final = "reasoning.encrypted_content"
_PREPARING_ROLES: Final = frozenset({"developer", "system"})
_MESSAGE: Final = re.compile(rb'\{(?:"type": ?"message", ?)?"role": ?"([a-z]+)", ?"content"').match


# With an `__init__` of its own as the one that it inherits from.
@dataclass(slots=True, init=False)
class ResponsesHead(Head):
    """The head of a Responses request."""

    tools: bytes
    """As the client wrote them: answers repeat them."""
    codex: bool
    """It is for one of the models that are streamed always and store nothing."""
    instructed: bool
    """It says how the model is to behave."""
    include: bytes
    """What its answer has to hold besides, if not what the client asked for."""

    def __init__(
        self,
        model: str,
        stream: bool,
        max_tokens: int,
        session: str,
        prefix: tuple[Part, ...],
        *,
        tools: bytes = b"",
        codex: bool = False,
        instructed: bool = True,
        include: bytes = b"",
        plain: bool = False,
        follows: str = "",
        stored: bool = False,
    ) -> None:
        Head.__init__(self, model, stream, max_tokens, session, prefix, plain=plain, follows=follows, stored=stored)
        self.tools = tools
        self.codex = codex
        self.instructed = instructed
        self.include = include


def is_codex(model: str) -> bool:
    """Whether a model is one of those whose answers are always streamed and never stored."""
    return "codex" in model.lower()


def read_head(body: bytes) -> ResponsesHead:
    """Read the head of a request. Raises ProblemError (400)."""
    try:
        read = read_body(body)
    except UNREADABLE as error:
        raise unreadable(error) from None
    if not read.model:
        raise ProblemError(invalid("model: String should have at least 1 character"))
    if read.background:
        # Nobody could fetch such an answer here, nor put it into the books.
        raise ProblemError(invalid("background: answers are not made in the background here"))
    tools = bytes(read.tools)
    instructions = bytes(read.instructions)
    codex = is_codex(read.model)
    opening, prepared = _opening(read.input)
    if codex and not prepared and isinstance(read.input, list):
        prepared = any(role in _PREPARING_ROLES for _, role in _roles(read.input))
    return ResponsesHead(
        model=read.model,
        stream=read.stream is True or codex,
        max_tokens=max(0, read.max_output_tokens or 0),
        session=_session(read),
        prefix=(tools, instructions, *opening),
        tools=b"" if tools == b"null" else tools,
        codex=codex,
        instructed=prepared or instructions not in _NOTHING,
        include=_with_reasoning(bytes(read.include)) if codex and bytes(read.store) != b"false" else b"",
        plain=isinstance(read.input, str),
        follows=_text(bytes(read.previous_response_id)),
        stored=not codex and bytes(read.store) != b"false",
    )


def forwarded(head: ResponsesHead, body: bytes, upstream_model: str) -> bytes:
    """Return the body for an account of the same format."""
    values = {"model": msgspec.json.encode(upstream_model)}
    if head.codex:
        values |= {"stream": b"true", "store": b"false"}
        if not head.instructed:
            values["instructions"] = _DEFAULT_INSTRUCTIONS
        if head.include:
            values["include"] = head.include
    return splice(body, values)


def _with_reasoning(asked: bytes) -> bytes:
    """Return what to include in an answer that the client takes for stored: its reasoning, or it cannot come back.

    b"" where that is asked for already, or nothing that anybody could read is.
    """
    try:
        wanted: Any = msgspec.json.decode(asked) if asked else None
    except UNREADABLE:
        return b""
    if wanted is None:
        wanted = []
    if not isinstance(wanted, list) or _ENCRYPTED in wanted:
        return b""
    return msgspec.json.encode([*wanted, _ENCRYPTED])


def _text(raw: bytes) -> str:
    """Return a text; "" for anything else, which the upstream may judge."""
    value: Any = msgspec.json.decode(raw) if raw[:1] == b'"' else ""
    return str(value)


def _session(read: Body) -> str:
    user_id = read.metadata.user_id if read.metadata is not None else None
    return read.prompt_cache_key or read.user or read.safety_identifier or user_id or ""


def _opening(given: list[msgspec.Raw] | str | None) -> tuple[tuple[Part, ...], bool]:
    """Return the items up to the first that is no preparation, as raw JSON, and whether there is any preparation."""
    if not isinstance(given, list):
        return ((given or "").encode(),), False
    opening: list[Part] = []
    prepared = False
    for item, role in _roles(given):
        opening.append(item)
        if role not in _PREPARING_ROLES:
            break
        prepared = True
    return tuple(opening), prepared


def _roles(items: Iterable[msgspec.Raw]) -> Iterable[tuple[msgspec.Raw, str]]:
    return ((item, _role(item)) for item in items)


def _role(item: msgspec.Raw) -> str:
    """Return whose item it is. Of one that begins as SDKs write messages, nothing else is read."""
    if (beginning := _MESSAGE(item)) is not None:
        return beginning[1].decode()
    try:
        known = read_item(item)
    except UNREADABLE:
        return ""
    # Codex puts its tools into an item of their own, before the messages.
    return "developer" if known.type == "additional_tools" else known.role
