"""Which wire format an account is spoken to in. One table; everything else asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.providers import anthropic, gemini, openai_chat, openai_embeddings, openai_responses
from penstock_routing.access import wire_name

if TYPE_CHECKING:
    from penstock_edge.providers.wire import Wire

_WIRES: Final[dict[str, Wire]] = {
    wire.name: wire
    for wire in (anthropic.WIRE, gemini.WIRE, openai_chat.WIRE, openai_embeddings.WIRE, openai_responses.WIRE)
}


def wire_for(provider: str, spoken: str, model: str) -> Wire:
    """Return how an account of `provider` is reached for a client that speaks wire format `spoken`."""
    return _WIRES[wire_name(provider, spoken, model)]
