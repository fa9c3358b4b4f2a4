"""Asks a gateway which models a key may use: it shows that both are right, and what a client can be given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx

from penstock_cli.connection import same_machine
from penstock_cli.errors import UnreachableError

if TYPE_CHECKING:
    from penstock_cli.setup_client.target import Target

TIMEOUT_SECONDS = 5.0
_REFUSED = {401, 403}


class UnansweredError(Exception):
    """The gateway could not be asked; the message says why."""


def models(target: Target) -> list[str]:
    """Return the names of the models, newest first. Raises UnansweredError, and UnreachableError for a wrong key."""
    local = same_machine(target.url)
    try:
        answer = httpx.get(
            f"{target.url}/v1/models",
            headers={"authorization": f"Bearer {target.key}"},
            timeout=TIMEOUT_SECONDS,
            # A proxy from the environment cannot reach this machine's loopback.
            trust_env=not local,
        )
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:
        # Not only the address: also a proxy of the environment that cannot be used.
        raise UnansweredError(f"{target.url} does not answer ({str(error) or type(error).__name__})") from error
    if answer.status_code in _REFUSED:
        raise UnreachableError(f"{target.url} does not accept this key; nothing was written")
    try:
        return [str(row["id"]) for row in answer.json()["data"]]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise UnansweredError(
            f"{target.url} answered {answer.status_code}, not as a gateway does; check the address"
        ) from None
