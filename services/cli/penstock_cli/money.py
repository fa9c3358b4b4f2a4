"""Amounts of money: decimal USD as people write it, integer micro-USD everywhere else."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

MICRO = 1_000_000


def parse_usd(text: str) -> int:
    """Return micro-USD of `12.50`, `$12.50` or `-3`. Raises ValueError for what is finer than a micro-USD."""
    try:
        amount = Decimal(text.strip().replace("$", "", 1)) * MICRO
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is not an amount such as 12.50") from error
    if not amount.is_finite() or abs(amount) > 10**18:
        raise ValueError(f"{text!r} is not an amount such as 12.50")
    if amount != amount.to_integral_value():
        raise ValueError(f"{text!r} has more than six decimals")
    return int(amount)


def show_usd(micro: int) -> str:
    """Return `$12.50`: at least two decimals, as many as there are."""
    sign = "-" if micro < 0 else ""
    whole, fraction = divmod(abs(micro), MICRO)
    decimals = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole:,}.{decimals}"
