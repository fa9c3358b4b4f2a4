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

    def told(self, *, answered: bool) -> None:
        """Take what one has shown: told when an answer begins, for failures are quicker than answers are whole."""
        self.answered += _WEIGHT * (answered - self.answered)

    def take_back(self) -> None:
        """Forget an answer that was told: it has turned out to be a refusal, or none at all."""
        self.answered = max((self.answered - _WEIGHT) / (1.0 - _WEIGHT), 0.0)

    def ended(self) -> None:
        """Count one that is back."""
        self.out -= 1
