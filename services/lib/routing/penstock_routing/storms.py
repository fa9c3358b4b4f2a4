"""What may be sent to accounts that cool, while most of them do: as long as a part of it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_routing import outcomes as o

if TYPE_CHECKING:
    from collections.abc import Container

    from penstock_routing.candidates import Pick

_FIRST_SHARE: Final = 0.5
_LEAST_SHARE: Final = 0.2
_WEIGHT: Final = 0.02

_SUCCESSES: Final = frozenset({o.OK, o.BEGUN})
_SILENT: Final = frozenset({o.CLIENT_LEFT, o.CLIENT_FAULT, o.THROTTLED, o.THROTTLED_NO_HINT})
"""These tell nothing of whether a provider is overloaded."""
_ANSWERED: Final = frozenset({o.CLIENT_LEFT, o.CLIENT_FAULT})
"""An answer that ends so had begun nevertheless."""


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

    def ended(self, cls: str, *, heard: bool) -> None:
        """Count one that is back, by the class of its outcome. `heard`: the head of an answer had come."""
        self.out -= 1
        answered = cls in _SUCCESSES
        if heard and not answered and cls not in _ANSWERED:
            # Refusals have heads too, which may tell of limits.
            self.take_back()
        if cls not in _SILENT and not (answered and heard):
            self.told(answered=answered)


class Storms:
    """The storms of all models. Only picks made despite a cooldown are of any."""

    __slots__ = ("_by_model",)

    def __init__(self) -> None:
        self._by_model: dict[str, Storm] = {}

    def __len__(self) -> int:
        return len(self._by_model)

    def of(self, model: str) -> Storm:
        """Return a model's storm; it begins when there was none."""
        return self._by_model.setdefault(model, Storm())

    def open(self, model: str) -> bool:
        """Tell whether a request may go to an account of the model that cools."""
        storm = self._by_model.get(model)
        return storm is None or storm.open()

    def heard(self, pick: Pick) -> None:
        """Take the first head of an answer."""
        if pick.despite and pick.heard is None:
            self.of(pick.model).told(answered=True)

    def ended(self, pick: Pick, cls: str) -> None:
        """Take a pick's end."""
        if pick.despite:
            self.of(pick.model).ended(cls, heard=pick.heard is not None)

    def keep(self, models: Container[str]) -> None:
        """Forget models that nobody serves any more, once nothing is out there."""
        self._by_model = {name: storm for name, storm in self._by_model.items() if storm.out or name in models}
