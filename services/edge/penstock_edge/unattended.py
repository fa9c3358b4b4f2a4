"""An exchange that waits for its upstream with no task that waits: what comes takes it to its end in the same call.

Nearly every request ends so, and a stream goes on so. Whatever has to wait for anybody else, or to begin anew (a
failure, a client that is slow, an interruption), goes on in a task from where it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_chassis import logs
from penstock_edge.standing import UNDERWAY, UNFIT

if TYPE_CHECKING:
    from penstock_edge.direct_turn import DirectTurn
    from penstock_edge.dispatch import Dispatcher, Tries
    from penstock_edge.exchange import Attempt, Exchange
    from penstock_edge.upstream import Call

log = logs.get(__name__)


class Unattended:
    """Hears of what comes for one exchange, from the sending of its first attempt on."""

    __slots__ = ("_attempt", "_call", "_dispatcher", "_exchange", "_tries", "_turn")

    def __init__(
        self, dispatcher: Dispatcher, exchange: Exchange, turn: DirectTurn, tries: Tries, attempt: Attempt, call: Call
    ) -> None:
        self._dispatcher = dispatcher
        self._exchange = exchange
        self._turn = turn
        self._tries = tries
        self._attempt = attempt
        self._call = call

    def wait(self) -> None:
        """Hear of what comes from now on."""
        self._exchange.unattended = self
        self._turn.in_flight = True
        self._call.then(self.heard)
        if self._call.over:
            self.heard()

    def heard(self) -> None:
        """Take the exchange on if that is plain. Never raises: a connection of the upstream calls."""
        call = self._call
        if not (call.head_done or call.over):
            return
        standing = UNFIT if self._turn.slow else self._try_end()
        if standing == UNDERWAY:
            return
        self._let_go()
        if standing == UNFIT:
            self._hand_over()
            return
        try:
            self._dispatcher.over(self._exchange, self._tries)
        except Exception as error:  # noqa: BLE001 -- the client has its answer; the upstream's connection lives on
            log.error("exchange_not_ended", error=type(error).__name__, where=logs.where(error))  # noqa: TRY400 -- no message and no locals: they might quote a prompt or a key

    def _try_end(self) -> int:
        try:
            return self._dispatcher.attempts.try_end(self._exchange, self._attempt, self._call)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the task deals with it
            self._tries.crash = error
            return UNFIT

    def interrupted(self) -> None:
        """Hear that the exchange is to end: it does so in a task."""
        self._let_go()
        self._hand_over()

    def _let_go(self) -> None:
        # Exchange, call and this name each other.
        self._call.then(None)
        self._exchange.unattended = None
        self._turn.in_flight = False

    def _hand_over(self) -> None:
        self._turn.carry_on(self._dispatcher.go_on(self._exchange, self._tries))
