"""Who may use the admin API: the holder of one bearer token."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from penstock_chassis.process import StartError
from penstock_status.problems import Unauthorised
from penstock_status.settings import TOKEN_MINIMUM_CHARACTERS

if TYPE_CHECKING:
    from pathlib import Path

_scheme = HTTPBearer(auto_error=False, description="The token in DATA_DIR/admin-token (local mode).")


class BearerToken:
    """Compares tokens in constant time and keeps only a digest."""

    def __init__(self, token: str) -> None:
        self._digest = _digest(token)

    @classmethod
    def read(cls, path: Path) -> BearerToken:
        """Read the token from its file. Raises StartError."""
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"cannot read the admin token from {path}: {error}") from error
        if len(token) < TOKEN_MINIMUM_CHARACTERS:
            raise StartError(f"the admin token in {path} is shorter than {TOKEN_MINIMUM_CHARACTERS} characters")
        if not (token.isascii() and token.isprintable()):
            raise StartError(f"the admin token in {path} holds what no header can: it is one line of ASCII")
        return cls(token)

    def accepts(self, token: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(self._digest, _digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def require(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]
) -> None:
    """Let only the holder of the token pass. Raises Unauthorised."""
    bearer: BearerToken = request.app.state.bearer
    if credentials is None:
        raise Unauthorised("there is no bearer token in the request")
    if not bearer.accepts(credentials.credentials):
        raise Unauthorised("the bearer token is not the one of this gateway")
