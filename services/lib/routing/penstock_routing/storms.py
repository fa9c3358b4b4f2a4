"""What may be sent to accounts that cool, while most of them do: as long as a part of it is answered."""

from __future__ import annotations

from typing import Final

_FIRST_SHARE: Final = 0.5
_LEAST_SHARE: Final = 0.2
_WEIGHT: Final = 0.02


class Storm:
    """One model whose provider is overloaded: the part of requests it answers of late, and how many are out."""

    __slots__ = ("answered", "out")

    def __init__(self) -> None:
        self.answered = _FIRST_SHARE
        self.out = 0

    def open(self) -> bool:
        """Tell whether one more may go: while less than a fifth is answered, one at a time."""
        return self.answered >= _LEAST_SHARE or self.out == 0

    def began(self) -> None:
        """Count one that goes."""
        self.out += 1

    def ended(self, *, answered: bool | None) -> None:
        """Count one that is back; None: it showed nothing."""
        self.out -= 1
        if answered is not None:
            self.answered += _WEIGHT * (answered - self.answered)
