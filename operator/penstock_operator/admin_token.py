"""The bearer token of the admin API: made when there is none, and never changed."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets as randomness
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from penstock_chassis import logs
from penstock_operator import certificates_metrics as metrics
from penstock_operator.cluster import ClusterError, ConflictError, NotFoundError
from penstock_operator.ownership import is_ours, labels

if TYPE_CHECKING:
    from penstock_operator.cluster import Object, SecretApi

log = logs.get(__name__)

_KEY: Final = "token"
_RANDOM_BYTES: Final = 32
_FIRST_RETRY: Final = 1.0


class Found(StrEnum):
    """What became of the token."""

    THERE = "there"
    MADE = "made"
    UNUSABLE = "unusable"
    """Somebody else's Secret has none; it is theirs to mend."""


class AdminTokenKeeper:
    """Sees that the Secret `name` has a token."""

    def __init__(self, secrets: SecretApi, release: str, name: str, *, look_seconds: float = 30.0) -> None:
        self._secrets = secrets
        self._release = release
        self._name = name
        self._look_seconds = look_seconds
        self._complaint = ""

    async def run(self) -> None:
        """See to it until cancelled: a Secret that is deleted is made anew, with another token."""
        retry = _FIRST_RETRY
        while True:
            try:
                found = await self.look()
            except ClusterError as error:
                self._complain(str(error))
                await asyncio.sleep(retry)
                retry = min(retry * 2, self._look_seconds)
                continue
            retry = _FIRST_RETRY
            unusable = found is Found.UNUSABLE
            metrics.ADMIN_TOKEN_MISSING.set(float(unusable))
            self._complain(f"Secret {self._name} is not ours and has no {_KEY}: give it one" if unusable else "")
            await asyncio.sleep(self._look_seconds)

    async def look(self) -> Found:
        """Make the token if there is none. Raises ClusterError."""
        secret = await self._secrets.get_secret(self._name)
        if secret is not None and _token(secret):
            return Found.THERE
        if secret is not None and not is_ours(secret, self._release):
            return Found.UNUSABLE
        data = {_KEY: base64.b64encode(randomness.token_urlsafe(_RANDOM_BYTES).encode()).decode()}
        try:
            if secret is None:
                metadata = {"name": self._name, "labels": labels(self._release, "admin-token")}
                await self._secrets.create_secret({"metadata": metadata, "type": "Opaque", "data": data})
            else:
                version = {key: secret["metadata"][key] for key in ("uid", "resourceVersion")}
                await self._secrets.patch_secret(self._name, {"metadata": version, "data": data})
        except (ConflictError, NotFoundError) as error:
            raise ClusterError(f"Secret {self._name} changed meanwhile") from error
        log.info("admin_token_made", secret=self._name)
        return Found.MADE

    def _complain(self, complaint: str) -> None:
        if complaint and complaint != self._complaint:
            log.warning("admin_token_missing", reason=complaint)
        self._complaint = complaint


def _token(secret: Object) -> bytes:
    """Return the token, b"" for none. One that somebody chose is theirs to judge."""
    held = (secret.get("data") or {}).get(_KEY)
    try:
        return base64.b64decode(held, validate=True).strip() if isinstance(held, str) else b""
    except (binascii.Error, ValueError):
        return b""
