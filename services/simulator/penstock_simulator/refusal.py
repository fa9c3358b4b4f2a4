"""An answer that is an error; each wire format has its own body for it."""

from __future__ import annotations

from typing import Self


class RefusalError(Exception):
    """An error status, in the words of the wire format that makes it."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        headers: tuple[tuple[str, str], ...] = (),
        *,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        """The error's type."""
        self.message = message
        self.headers = headers
        self.param = param
        """OpenAI: the field at fault."""
        self.code = code
        """OpenAI: the error's code."""

    def altered(self, kind: str, message: str, headers: tuple[tuple[str, str], ...]) -> Self:
        """Put what a directive wants in place of the usual type (then there is no code) and text, and add headers."""
        if kind:
            self.kind, self.code = kind, None
        self.message = message or self.message
        self.headers += headers
        return self


class LimitError(RefusalError):
    """A 429 in Anthropic's words, with what other formats need to say it in theirs."""

    def __init__(
        self,
        message: str,
        headers: tuple[tuple[str, str], ...],
        *,
        limit: str,
        amount: int,
        asked: int,
        wait_seconds: float,
    ) -> None:
        super().__init__(429, "rate_limit_error", message, headers)
        self.limit = limit
        """requests, input-tokens, output-tokens, count or concurrent."""
        self.amount = amount
        """What the limit allows, per minute or at once."""
        self.asked = asked
        self.wait_seconds = wait_seconds
