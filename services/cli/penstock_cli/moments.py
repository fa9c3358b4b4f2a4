"""Times as people write them: a date, an RFC 3339 time, or a distance from now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_DISTANCE = re.compile(r"(\d{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse(text: str, now: datetime, *, ahead: bool) -> datetime:
    """Return the moment of `2027-01-01`, `2027-01-01T10:00:00Z` or `7d` (`ahead` of now, else ago).

    A time without a zone is UTC. Raises ValueError.
    """
    distance = _DISTANCE.fullmatch(text.strip())
    try:
        if distance:
            away = timedelta(**{_UNITS[distance[2]]: int(distance[1])})
            return now + away if ahead else now - away
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time such as 2027-01-01, 2027-01-01T10:00:00Z or 7d") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def show(text: str | None) -> str:
    """Return a document's time to the second, or a dash."""
    if not text:
        return "-"
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
