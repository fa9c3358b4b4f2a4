"""How long an upstream asks to wait, in the headers that all of them share."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_edge.providers.wire import Headers


def retry_after(headers: Headers, now: datetime | None = None) -> float | None:
    """Return the seconds that `retry-after-ms` or `retry-after` (a number or a date) asks for; None without one."""
    found: dict[bytes, bytes] = dict(reversed(headers))
    milliseconds = found.get(b"retry-after-ms")
    if milliseconds is not None and (value := number(milliseconds)) is not None:
        return value / 1000
    text = found.get(b"retry-after")
    if text is None:
        return None
    seconds = number(text)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(text.decode("latin-1"))
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def number(text: bytes) -> float | None:
    """Return a sane, non-negative number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e12 else None
