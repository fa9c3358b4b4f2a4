"""Amounts of money: decimal USD as people write it, integer micro-USD everywhere else."""

from __future__ import annotations

from decimal import Decimal, Inexact, InvalidOperation, localcontext

MICRO = 1_000_000
_MOST_USD = 10**12


def parse_usd(text: str) -> int:
    """Return micro-USD of `12.50`, `$12.50` or `-3`. Raises ValueError for what is finer than a micro-USD."""
    try:
        usd = Decimal(text.strip().replace("$", "", 1))
        fits = abs(usd) <= _MOST_USD
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is not an amount such as 12.50") from error
    if not fits:
        raise ValueError(f"{text!r} is not an amount such as 12.50")
    with localcontext() as exactly:
        exactly.traps[Inexact] = True
        try:
            return int((usd * MICRO).to_integral_exact())
        except Inexact as error:
            raise ValueError(f"{text!r} has more than six decimals") from error


def show_usd(micro: int) -> str:
    """Return `$12.50`: at least two decimals, as many as there are."""
    sign = "-" if micro < 0 else ""
    whole, fraction = divmod(abs(micro), MICRO)
    decimals = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole:,}.{decimals}"
