"""Ids of what OpenAI's answers hold. Those of items tell their response, and if reasoning went before them. Pure."""

from __future__ import annotations

import hashlib
import re

_TRUNK = re.compile(r"(?:msg|fc|ctc)_51a0([0-9a-f]{32})1[0-9a-f]{11}")


def _digest(*parts: object, size: int) -> str:
    return hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=size).hexdigest()


def completion_id(identity: str) -> str:
    """Return the id of a chat completion."""
    return "chatcmpl-sim" + _digest(identity, size=12)


def call_id(identity: str, *parts: object) -> str:
    """Return the id of a tool call."""
    return "call_" + _digest(identity, *parts, size=12)


def response_id(identity: str) -> str:
    """Return the id of a response."""
    return "resp_" + _digest(identity, size=24)


def item_id(prefix: str, identity: str, index: int, *, reasoned: bool) -> str:
    """Return the id of an output item; `reasoned`: the response holds reasoning before it."""
    trunk = _digest(identity, "items", size=16)
    return f"{prefix}_51a0{trunk}{int(reasoned)}{_digest(identity, index, size=6)[:11]}"


def needs_reasoning(identity: str) -> str | None:
    """Return how the id of the reasoning begins that an item cannot go without, if there is any."""
    found = _TRUNK.fullmatch(identity)
    return f"rs_51a0{found[1]}" if found else None
