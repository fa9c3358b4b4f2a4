"""Allowances as auth would have answered them."""

from __future__ import annotations

from penstock_edge.allowance import Allowance
from penstock_edge.amounts import Amounts
from penstock_edge.key_facts import KeyFacts
from penstock_edge.times import LONG_AGO

KEY = KeyFacts("k", "p", "plan", ("*",), "Settled", "Closed", False, "", "", "", 10**6, 0, 0, "psk")


def new(now=0.0):
    return Allowance(b"d", lambda: now, KEY)


def grant(allowance, now=0.0, *, need=None, units=10, life=10.0, holding=(10, 1000, 1000, 1000)):
    call = allowance.ask(need.kind if need else "requests", [need] if need else [], now, LONG_AGO, "e", ahead=not need)
    allowance.granted(call, f"L{call.seq}", units, life, Amounts(*holding))
    return call
