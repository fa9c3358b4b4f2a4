"""Finds the way from a request to an account: the model's name there, and whether bytes can pass as they are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from penstock_catalog.names import upstream_name
from penstock_chassis import logs
from penstock_edge import errors, foreign_thinking
from penstock_edge.dialects.dialect import Birth
from penstock_edge.errors import ProblemError
from penstock_edge.passage import NativePassage, TranslatedPassage
from penstock_edge.providers.wire import Addressee
from penstock_edge.providers.wires import wire_for
from penstock_routing import outcomes

if TYPE_CHECKING:
    from penstock_edge.exchange import Exchange
    from penstock_edge.passage import Passage
    from penstock_edge.providers.wire import Wire
    from penstock_routing import AccountFacts

log = logs.get(__name__)


def cross(exchange: Exchange, account: AccountFacts) -> tuple[str, Passage]:
    """Return the account's name for the model, and the way there.

    Raises ProblemError when the request cannot be carried to an account of this provider.
    """
    asked, model = exchange.asked_model, exchange.model
    name = asked if model is None else upstream_name(model, account.provider, asked)
    wire = wire_for(account.provider, exchange.dialect.wire, name)
    if wire.name == exchange.dialect.wire:
        return name, _native(exchange, account, wire, name)
    try:
        return name, _translated(exchange, account, wire, name)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        # A shape that no reader foresaw: the client's to mend as far as it goes, and ours to know of.
        log.error(  # noqa: TRY400 -- no message and no locals: they might quote a prompt
            "translation_crashed",
            request_id=exchange.request_id,
            error=type(error).__name__,
            where=logs.where(error),
        )
        raise ProblemError(errors.UNCARRIABLE) from None


def _native(exchange: Exchange, account: AccountFacts, wire: Wire, name: str) -> Passage:
    dialect, head, body = exchange.dialect, exchange.asked, exchange.body
    dropped: list[str] = []
    if foreign_thinking.concerns(body, wire.name, account.provider, exchange.origins):
        body, dropped = foreign_thinking.cleaned(body, wire.name, account.provider)
    counting = exchange.operation == outcomes.COUNT_TOKENS
    passage = NativePassage(
        dialect, wire, head, dialect.forwarded(head, body, name), exchange.request_id, counting=counting
    )
    passage.ignored += dropped
    return passage


def _translated(exchange: Exchange, account: AccountFacts, wire: Wire, name: str) -> Passage:
    if exchange.conversation is None:
        about = 0 if exchange.admitted is None else exchange.admitted.need.input_tokens
        birth = Birth(exchange.request_id, int(time.time()), about)
        exchange.conversation = exchange.dialect.read(exchange.asked, exchange.body, birth)
    most = 0 if exchange.model is None else exchange.model.max_output_tokens
    counting = exchange.operation == outcomes.COUNT_TOKENS
    return TranslatedPassage(
        exchange.conversation,
        wire,
        Addressee(account.provider, name, most),
        streamed=exchange.streamed,
        counting=counting,
    )
