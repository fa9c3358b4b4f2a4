"""What serving a request needs of the books and of the router's picture; `main` hands the real ones in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.price import Price
    from penstock_edge.records import Admitted, Closed, Need, Opened, Refused
    from penstock_edge.snapshot import Model
    from penstock_routing import AccountFacts, Outcome, Pool


class Admission(Protocol):
    """Allowances and holds."""

    def known(self, digest: bytes) -> KeyFacts | None:
        """Return what is known of a key without asking anybody."""
        ...

    def try_admit(self, digest: bytes, need: Need, now: float) -> Admitted | Refused | None:
        """Admit from what is in hand, synchronously; None when auth has to be asked."""
        ...

    async def admit(self, digest: bytes, need: Need, deadline: float) -> Admitted | Refused:
        """Admit, asking auth; `deadline` is monotonic seconds."""
        ...

    async def identify(self, digest: bytes, deadline: float) -> KeyFacts | Refused:
        """Return whose key it is, debiting nothing."""
        ...

    def ended(self, admitted: Admitted) -> None:
        """Free the slot: the request has ended."""
        ...

    def settled(self, admitted: Admitted) -> None:
        """Free tokens and money: the request is settled, or nothing was opened."""
        ...


class Spool(Protocol):
    """Open and closed requests that outlive this process."""

    def open(self, opened: Opened) -> None:
        """Write an open record; returns when it is written. Raises SpoolFullError."""
        ...


class Settlement(Protocol):
    """Closed requests on their way to the ledger."""

    def finish(self, opened: Opened, closed: Closed, admitted: Admitted) -> None:
        """Write the close record and queue the settlement."""
        ...

    def pending(self, request_id: str) -> Opened | Closed | None:
        """Return a request that this edge served and whose settlement is not acknowledged."""
        ...

    def opened(self, request_id: str) -> Opened | None:
        """Return the open record of such a request."""
        ...


class View(Protocol):
    """The router's picture."""

    pool: Pool

    def resolve(self, name: str) -> Model | None:
        """Return the model with this name or alias."""
        ...

    def models(self) -> tuple[Model, ...]:
        """Return every model."""
        ...

    def price(self, model: Model, now_ms: int) -> Price | None:
        """Return the price row in force."""
        ...

    def account(self, name: str) -> AccountFacts | None:
        """Return an account's endpoint, credential and timeouts."""
        ...

    def accounts(self) -> tuple[str, ...]:
        """Return the names of all accounts."""
        ...


class Reports(Protocol):
    """Outcomes on their way to the router."""

    def outcome(self, outcome: Outcome, *, urgent: bool = False) -> None:
        """Queue one outcome."""
        ...

    def waiting(self, account: str, change: int) -> None:
        """Note that `change` more (or fewer) requests wait for a slot of `account`."""
        ...
