"""The catalog in force: what the compiled document says, in the forms that selection and edges need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.router.v1 import router_pb2
from penstock_routing.accounts import UNLIMITED, AccountFacts, Timeouts
from penstock_routing.shares import Limits

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from penstock_catalog import documents
    from penstock_catalog.prices import PriceRow


class Desired:
    """One version of the catalog. Immutable; the messages in it carry credentials and go to edges only."""

    def __init__(self, document: documents.RouterCatalog | None = None) -> None:
        self.version = document.version if document is not None else ""
        accounts = document.accounts if document is not None else ()
        models = document.models if document is not None else ()
        self.accounts: Mapping[str, AccountFacts] = {account.name: _facts(account) for account in accounts}
        self.served: Mapping[str, Collection[str]] = {account.name: frozenset(account.models) for account in accounts}
        self.limits: Mapping[str, Limits] = {account.name: _limits(account) for account in accounts}
        self.messages: Mapping[str, str] = {account.name: account.not_served_message for account in accounts}
        # What all edges are told alike, made once.
        self.message = router_pb2.Snapshot(
            catalog_version=self.version,
            accounts=[_account(account) for account in accounts],
            models=[_model(model) for model in models],
        )
        self.aliases: Mapping[str, str] = {
            **{alias: model.name for model in models for alias in model.aliases},
            **{model.name: model.name for model in models},
        }

    def __repr__(self) -> str:
        return f"Desired(version={self.version!r}, accounts={len(self.accounts)})"

    def limited(self, account: str) -> bool:
        """Tell whether an account has any limit of its own."""
        return self.limits.get(account, Limits()) != Limits()


def _facts(account: documents.Account) -> AccountFacts:
    timeouts = account.timeouts
    return AccountFacts(
        name=account.name,
        provider=account.provider,
        base_url=account.base_url,
        api_key=account.api_key,
        models=account.models,
        tier=account.tier,
        weight=account.weight,
        mode=account.mode,
        timeouts=Timeouts(
            connect=timeouts.connect_ms / 1000,
            first_byte=timeouts.first_byte_ms / 1000,
            idle=timeouts.idle_ms / 1000,
            response=timeouts.response_ms / 1000,
        ),
        allow_private_address=account.allow_private_address,
        generation=account.generation,
        credential_hash=account.credential_hash,
        not_served=account.not_served,
    )


def _limits(account: documents.Account) -> Limits:
    limits = account.limits
    return Limits(
        slots=_or_unlimited(limits.max_concurrent_requests),
        requests_per_minute=_or_unlimited(limits.requests_per_minute),
        tokens_per_minute=_or_unlimited(limits.tokens_per_minute),
    )


def _or_unlimited(value: int | None) -> int:
    return UNLIMITED if value is None else value


def _account(account: documents.Account) -> router_pb2.Account:
    timeouts = account.timeouts
    return router_pb2.Account(
        name=account.name,
        provider=account.provider,
        base_url=account.base_url,
        api_key=account.api_key,
        models=account.models,
        tier=account.tier,
        weight=account.weight,
        mode=account.mode,
        timeouts=router_pb2.Timeouts(
            connect_ms=timeouts.connect_ms,
            first_byte_ms=timeouts.first_byte_ms,
            idle_ms=timeouts.idle_ms,
            response_ms=timeouts.response_ms,
        ),
        allow_private_address=account.allow_private_address,
        generation=account.generation,
        credential_hash=account.credential_hash,
        not_served=account.not_served,
    )


def _model(model: documents.Model) -> router_pb2.Model:
    return router_pb2.Model(
        name=model.name,
        aliases=model.aliases,
        owned_by=model.owned_by,
        display_name=model.display_name,
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        created_at_ms=model.created_at_ms,
        retires_at_ms=model.retires_at_ms,
        prices=[_price(row) for row in model.prices],
        fallbacks=model.fallbacks,
        upstream_names=model.upstream_names,
    )


def _price(row: PriceRow) -> router_pb2.Price:
    return router_pb2.Price(digest=row.digest, **row.model_dump())
