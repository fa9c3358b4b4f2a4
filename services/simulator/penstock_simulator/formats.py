"""The seam between serving and the wire formats: each format is one package behind this Protocol.

`registry.py` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from penstock_simulator.accounts import Account
    from penstock_simulator.answer import Answer
    from penstock_simulator.behaviour import Behaviour
    from penstock_simulator.connection import Request
    from penstock_simulator.refusal import RefusalError


@dataclass(slots=True)
class Draft:
    """A request as far as it can be told before it is checked."""

    operation: str
    """messages (every billed answer of a chat), embeddings, count_tokens or models."""
    format: str
    """What the record calls it: anthropic, openai_chat, openai_responses, openai_embeddings, openai_models, gemini."""
    document: Any = None
    """The decoded body, if it could be decoded."""
    model: str = ""
    """Without a directive at its end."""
    streamed: bool = False
    hints: list[str] = field(default_factory=list)
    """Directives at the end of the model's name and in the prompt, not yet read."""
    item: str = ""
    """What a GET names in its path."""


@dataclass(slots=True)
class Call:
    """What a format needs to answer."""

    request: Request
    draft: Draft
    account: Account
    how: Behaviour
    upstream_request_id: str
    now: float
    """Monotonic."""
    wall: float
    """Unix seconds."""


def models_form(request: Request) -> Literal["anthropic", "gemini", "openai"]:
    """Return whose form `GET /v1/models` takes, a path that three APIs share: the credential's header tells."""
    if "x-api-key" in request.headers or "anthropic-version" in request.headers:
        return "anthropic"
    if "x-goog-api-key" in request.headers or request.argument("key") is not None:
        return "gemini"
    return "openai" if "authorization" in request.headers else "anthropic"


def bearer(request: Request) -> str | None:
    """Return the token of `Authorization: Bearer`."""
    kind, _, token = request.header("authorization").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


class WireFormat(Protocol):
    """One provider's API."""

    def draft(self, request: Request) -> Draft | None:
        """Return what the request is, or None when it is not of this format; never raises for a bad body.

        No two formats may claim the same request. Of `GET /v1/models` and what is below it only those are a format's
        own for which `models_form` names it.
        """

    def credential(self, request: Request) -> str | None:
        """Return the credential that counts."""

    def headers(self, upstream_request_id: str, account: Account | None) -> list[tuple[str, str]]:
        """Return the headers of every answer."""

    def refusal(self, status: int, call: Call) -> RefusalError:
        """Return the usual error of a status."""

    def credit_too_low(self) -> RefusalError:
        """Return the error of an account without money."""

    def unknown_credential(self, request: Request) -> RefusalError:
        """Return the error of a missing or unknown credential."""

    def error_body(self, refusal: RefusalError, upstream_request_id: str) -> bytes:
        """Return the body of an error."""

    def answer(self, call: Call) -> Answer:
        """Check the request and compose its answer; raises RefusalError."""
