"""An answer that is an error; each wire format has its own body for it."""

from __future__ import annotations


class RefusalError(Exception):
    """An error status: `kind` is the canonical (Anthropic) error type."""

    def __init__(self, status: int, kind: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.headers = headers
