"""Which credential of an account is in force: a changed one only after a provider has taken it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from penstock_catalog.documents import Account

Result = Literal["Ok", "Refused", "Failed", "Unknown", "NoRouter"]


class Trial(NamedTuple):
    """What is tried: a credential at an endpoint. `credential` is the beginning of its digest.

    All that routers are told of an account stands here: what has changed in any of it is another trial.
    """

    account: str
    provider: str
    base_url: str
    allow_private_address: bool
    credential: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What the last trial came to; `status` is that of the provider's answer, 0 when there was none."""

    result: Result
    status: int = 0


def trial_of(account: Account) -> Trial:
    """Name what would be tried for an account as it stands."""
    return Trial(
        account.name, account.provider, account.base_url, account.allow_private_address, account.credential_hash
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """The account to publish. `held_back`: the one in force stays, because the wanted one is not proven."""

    account: Account
    held_back: bool = False


def choose(wanted: Account, in_force: Account | None, proof: Proof | None, *, in_force_dead: bool) -> Choice:
    """Choose between the credential that the Secret has and the one that is published.

    The wanted one counts at once where the other is of no use: there is none, the Secret is gone or unusable, it was
    for another endpoint (which must not be shown it), it is known to be dead, or nobody may use the account. Else it
    has to be proven, save at providers where nothing can be asked without paying.
    """
    if in_force is None or not in_force.api_key or not wanted.api_key or in_force_dead:
        return Choice(wanted)
    if in_force.credential_hash == wanted.credential_hash or wanted.mode == "Disabled" or wanted.not_served:
        return Choice(wanted)
    if (in_force.provider, in_force.base_url) != (wanted.provider, wanted.base_url):
        return Choice(wanted)
    if proof is not None and proof.result in {"Ok", "Unknown"}:
        return Choice(wanted)
    kept = {"api_key": in_force.api_key, "credential_hash": in_force.credential_hash}
    return Choice(wanted.model_copy(update=kept), held_back=True)
