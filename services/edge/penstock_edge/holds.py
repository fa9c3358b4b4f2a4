"""What admitted requests hold: slots until they have ended, tokens and money until they are settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_edge.allowance import REQUESTS, Allowance
from penstock_edge.times import SOON_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.key_books import KeyBooks
    from penstock_edge.records import Admitted
    from penstock_edge.reminders import Reminders


class Holds:
    """Lets go of them, and sees that what is spare then goes back in time."""

    __slots__ = ("_books", "_clock", "_reminders")

    def __init__(self, books: KeyBooks, reminders: Reminders, clock: Callable[[], float]) -> None:
        self._books = books
        self._reminders = reminders
        self._clock = clock

    def ended(self, admitted: Admitted) -> None:
        """Free the request's slot: its answer has ended. Calling it again does nothing."""
        allowance = admitted._source
        if not admitted._slot or not isinstance(allowance, Allowance):
            return
        admitted._slot = False
        allowance.holdings.free_slot()
        if allowance.remainder is not None and admitted.degraded:
            allowance.remainder.ended()
        self._look_again(allowance)

    def settled(self, admitted: Admitted, *, recorded: bool) -> None:
        """Let go of the request's tokens and money: its settlement is final (`recorded`), or nothing was opened."""
        allowance = admitted._source
        if not admitted._held or not isinstance(allowance, Allowance):
            return
        admitted._held = False
        at = admitted.admitted_at_ms
        allowance.unrecorded.settles(at)
        allowance.let_go(admitted.need, used=recorded)
        if not recorded:
            allowance.unrecorded.remember(at, REQUESTS)
        self._look_again(allowance)

    def _look_again(self, allowance: Allowance) -> None:
        """Something has become spare: see that it goes back in time."""
        holdings = allowance.holdings
        if not holdings.scarce and allowance.due_at <= holdings.spare_until:
            return
        book = self._books.get(allowance.digest)
        if book is not None and book.allowance is allowance:
            soon = self._clock() + SOON_SECONDS
            self._reminders.remind(book, soon if holdings.scarce else max(holdings.spare_until, soon))
