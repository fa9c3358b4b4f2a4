"""Which accounts made the answers that they store: who goes on from one (`previous_response_id`) is led there."""

from __future__ import annotations

from hashlib import blake2b

_REMEMBERED = 16_384


class Makers:
    """Knows the maker of the newest `remembered` answers at least, of twice as many at most. Nobody else is told."""

    __slots__ = ("_newer", "_older", "_remembered")

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._newer: dict[bytes, str] = {}
        self._older: dict[bytes, str] = {}

    def made(self, answer_id: str, account: str) -> None:
        """Note that an account has made and stored an answer."""
        self._newer[_short(answer_id)] = account
        if len(self._newer) >= self._remembered:
            self._older, self._newer = self._newer, {}

    def of(self, answer_id: str) -> str | None:
        """Return the account that made an answer; None when it is not known here."""
        short = _short(answer_id)
        return self._newer.get(short) or self._older.get(short)


def _short(answer_id: str) -> bytes:
    return blake2b(answer_id.encode("utf-8", "surrogatepass"), digest_size=12).digest()
