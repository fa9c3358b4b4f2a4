"""/admin/v1/accounts: the upstream accounts as the router sees them now."""

import time
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from penstock.router.v1 import router_pb2
from penstock_status import moments
from penstock_status.api.access import PeersDep
from penstock_status.problems import NotFound

router = APIRouter(prefix="/accounts", tags=["accounts"])


class CooldownDocument(BaseModel):
    """A time during which an account, or one of its models, takes no new requests."""

    model: str | None = Field(description="None: the whole account.")
    operation: str | None = Field(description="None: all; else count_tokens.")
    outcome: str = Field(serialization_alias="class", description="The error class that began it.")
    until: datetime | None = Field(description="None: until a trial request succeeds.")
    remaining_ms: int
    half_open: bool
    ramp_percent: int
    reason: str

    @classmethod
    def of(cls, cooldown: router_pb2.Cooldown, now_ms: int) -> "CooldownDocument":
        """Translate the router's words."""
        return cls(
            model=cooldown.model or None,
            operation=cooldown.operation or None,
            outcome=getattr(cooldown, "class"),
            until=moments.of_ms(now_ms + cooldown.remaining_ms) if cooldown.remaining_ms else None,
            remaining_ms=cooldown.remaining_ms,
            half_open=cooldown.half_open,
            ramp_percent=cooldown.ramp_percent,
            reason=cooldown.reason,
        )


class AccountDocument(BaseModel):
    """One account: what it was told to be and what it is."""

    name: str
    provider: str
    mode: str = Field(description="Active, Draining or Disabled.")
    ready: bool
    reason: str
    message: str
    cooldowns: list[CooldownDocument]
    in_flight: int
    requests_per_minute: int
    tier: int
    weight: int
    credential_hash: str = Field(description="First digits of a digest: a rotation is visible.")
    generation: int

    @classmethod
    def of(cls, account: router_pb2.AccountObserved, now_ms: int) -> "AccountDocument":
        """Translate the router's words."""
        return cls(
            name=account.name,
            provider=account.provider,
            mode=account.mode,
            ready=account.ready,
            reason=account.reason,
            message=account.message,
            cooldowns=[CooldownDocument.of(cooldown, now_ms) for cooldown in account.cooldowns],
            in_flight=account.in_flight,
            requests_per_minute=account.requests_per_minute,
            tier=account.tier,
            weight=account.weight,
            credential_hash=account.credential_hash,
            generation=account.generation,
        )


@router.get("")
async def list_all(peers: PeersDep) -> list[AccountDocument]:
    """List all accounts."""
    observed = await peers.observed()
    now_ms = time.time_ns() // 1_000_000
    accounts = [AccountDocument.of(account, now_ms) for account in observed.accounts]
    return sorted(accounts, key=lambda account: account.name)


@router.get("/{name}")
async def show(name: str, peers: PeersDep) -> AccountDocument:
    """Show one account."""
    for account in await list_all(peers):
        if account.name == name:
            return account
    raise NotFound(f"there is no account {name!r}", action="List the accounts; they come from resources.")
