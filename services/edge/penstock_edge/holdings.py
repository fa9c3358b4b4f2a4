"""Slots, tokens and money of one key: what was lent, what open requests hold of it, and the rest, which is spare. Pure.

Spare may be used for the allowance's life, which counts from when the question was sent. All times are monotonic
seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from penstock_edge.amounts import NOTHING, Amounts
from penstock_edge.times import CREDIT_SECONDS, LONG_AGO, NEVER, ROOMY_SECONDS

if TYPE_CHECKING:
    from penstock_edge.records import Need


class Holdings:
    """Plain numbers, since every request changes them. `slots`, `input`, `output`, `usd`: of each of them."""

    __slots__ = (
        "believed",
        "lent_input",
        "lent_output",
        "lent_slots",
        "lent_usd",
        "money_until",
        "open_input",
        "open_output",
        "open_slots",
        "open_usd",
        "scarce",
        "spare_until",
        "tight",
        "usual_input",
        "usual_output",
        "usual_usd",
    )

    def __init__(self) -> None:
        self.believed = NOTHING
        """What the store believes that we hold: it hears of settled requests with the next question."""
        self.lent_slots = self.lent_input = self.lent_output = self.lent_usd = 0
        self.open_slots = self.open_input = self.open_output = self.open_usd = 0
        self.usual_input = self.usual_output = self.usual_usd = 0.0
        """What requests need of late."""
        self.spare_until = LONG_AGO
        self.money_until = LONG_AGO
        self.tight = NOTHING
        """1 for each amount of which less than half of a limit remains: spare of it goes back soon, others want it."""
        self.scarce = False
        """Any of `tight` is 1."""

    @property
    def open(self) -> Amounts:
        """What unsettled requests hold."""
        return Amounts(self.open_slots, self.open_input, self.open_output, self.open_usd)

    @property
    def lent(self) -> Amounts:
        """The most that this edge may hold."""
        return Amounts(self.lent_slots, self.lent_input, self.lent_output, self.lent_usd)

    @property
    def spare(self) -> Amounts:
        """What is lent and not held by any request."""
        return self.lent.less(self.open)

    # Requests.

    def covers(self, input_tokens: int, output_tokens: int, micro_usd: int, now: float) -> bool:
        """Say whether a slot, and so much, is spare."""
        return (
            now < self.spare_until
            and self.lent_slots > self.open_slots
            and self.lent_input - self.open_input >= input_tokens
            and self.lent_output - self.open_output >= output_tokens
            and self.lent_usd - self.open_usd >= micro_usd
        )

    def covers_money(self, micro_usd: int, now: float) -> bool:
        """Say whether spare money that was lent ahead covers so much."""
        return now < self.money_until and self.lent_usd - self.open_usd >= micro_usd

    def hold(self, input_tokens: int, output_tokens: int, micro_usd: int) -> None:
        """Count a request's slot, tokens and money as held."""
        self.open_slots += 1
        self.open_input += input_tokens
        self.open_output += output_tokens
        self.open_usd += micro_usd
        self.usual_input += (input_tokens - self.usual_input) / 8
        self.usual_output += (output_tokens - self.usual_output) / 8
        self.usual_usd += (micro_usd - self.usual_usd) / 8

    def free_slot(self) -> None:
        """Free one slot: the request has ended."""
        self.open_slots -= 1

    def let_go(self, input_tokens: int, output_tokens: int, micro_usd: int, *, used: bool) -> None:
        """Free a request's tokens and money.

        `used`: its settlement is final, so the store counts what it used, and what was lent for it is gone. Otherwise
        nothing was sent, and it is spare again.
        """
        self.open_input -= input_tokens
        self.open_output -= output_tokens
        self.open_usd -= micro_usd
        if used:
            self.lent_input = max(0, self.lent_input - input_tokens)
            self.lent_output = max(0, self.lent_output - output_tokens)
            self.lent_usd = max(0, self.lent_usd - micro_usd)

    # Questions and answers.

    def low(self, pace: float) -> bool:
        """Say whether spare is less than half of what a second uses at that pace."""
        return (
            (self.lent_slots - self.open_slots) * 8 < self.open_slots
            or (self.lent_input - self.open_input) * 2 < pace * self.usual_input
            or (self.lent_output - self.open_output) * 2 < pace * self.usual_output
            or (self.lent_usd - self.open_usd) * 2 < pace * self.usual_usd
        )

    def target(self, requests: int, waiting: list[Need]) -> Amounts:
        """Return how much spare would be welcome for so many requests, of which some are `waiting`."""
        beyond = max(0, requests - len(waiting))
        usual_input, usual_output, usual_usd = self.usual_input, self.usual_output, self.usual_usd
        if waiting:
            # A key that is new here has no history yet.
            usual_input = max(usual_input, waiting[0].input_tokens)
            usual_output = max(usual_output, waiting[0].output_tokens)
            usual_usd = max(usual_usd, waiting[0].micro_usd)
        slots = min(max(len(waiting), self.open_slots // 2 + 2), requests, 1_000)
        return Amounts(
            slots,
            sum(n.input_tokens for n in waiting) + math.ceil(beyond * usual_input),
            sum(n.output_tokens for n in waiting) + math.ceil(beyond * usual_output),
            sum(n.micro_usd for n in waiting) + math.ceil(beyond * usual_usd),
        )

    def give_up(self, now: float, *, stale: bool, tight: bool = False) -> Amounts:
        """Set aside what must not be used any more; return what is kept, which is all that this edge now has.

        `tight`: spare that is scarce goes back too.
        """
        kept = self.lent if now < self.spare_until and not stale else NOTHING
        if now < self.money_until and not stale:
            kept = kept._replace(micro_usd=self.lent_usd)
        if tight:
            kept = Amounts(*(0 if scarce else a for a, scarce in zip(kept, self.tight, strict=True)))
        return self._have(kept.most(self.open))

    def granted(self, holding: Amounts, keeping: Amounts) -> None:
        """Take in what the store believes now, after a question that told it of `keeping`."""
        # What was settled while the answer was out is gone, though `keeping` still named it.
        self._have(Amounts(*(max(0, a + b - c) for a, b, c in zip(self.lent, holding, keeping, strict=True))))
        self.believed = holding

    def last(self, sent_at: float, life: float) -> None:
        """Let spare last: the question after which it was lent was sent then."""
        self.spare_until = sent_at + life
        self.money_until = sent_at + (CREDIT_SECONDS if life >= ROOMY_SECONDS else life)

    def due(self, now: float) -> float:
        """Return when to tell the store that we have less than it believes."""
        surplus = self.believed.less(self.open)
        if not any(surplus):
            return NEVER
        if any(a and scarce for a, scarce in zip(surplus, self.tight, strict=True)):
            return now
        return min(self.spare_until if any(surplus[:3]) else NEVER, self.money_until if surplus.micro_usd else NEVER)

    def note_tight(self, tight: Amounts) -> None:
        """Take in of which amounts little is left for all."""
        self.tight = tight
        self.scarce = any(tight)

    def _have(self, amounts: Amounts) -> Amounts:
        self.lent_slots, self.lent_input, self.lent_output, self.lent_usd = amounts
        return amounts
