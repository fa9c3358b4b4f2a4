"""The scalar notations of resources: durations, money, multipliers and times, each turned into an integer."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

_MICRO = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION = re.compile(r"(?=.)(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?", re.ASCII)
_DECIMAL = re.compile(r"\d{1,9}(?:\.\d{1,6})?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_SECONDS = (86_400, 3_600, 60, 1)


def duration_ms(text: str) -> int:
    """Read `30s`, `1m`, `5h`, `7d` or a descending mix such as `1h30m` as ms. `ValueError` for all else and for 0."""
    match = _DURATION.fullmatch(text)
    seconds = sum(int(part or 0) * unit for part, unit in zip(match.groups(), _SECONDS, strict=True)) if match else 0
    if seconds == 0:
        raise ValueError("must be a duration such as 30s, 1m or 5h")
    return seconds * 1000


def micro(text: str) -> int:
    """Read a decimal such as `3.75` as millionths (USD as micro-USD, a factor as ppm). `ValueError` for all else."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError('must be a decimal such as "12.50", with at most six places')
    return int(Decimal(text) * _MICRO)


def time_ms(text: str) -> int:
    """Read an RFC 3339 time with its zone as Unix ms. `ValueError` for anything else and for times before 1970."""
    fault = "must be a time with its zone, such as 2027-01-01T00:00:00Z"
    if not _TIME.fullmatch(text):
        raise ValueError(fault)
    try:
        # In UTC, because the year 9999 may end later elsewhere, and has no name there.
        milliseconds = (datetime.fromisoformat(text.upper()).astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise ValueError(fault) from None
    if milliseconds < 0:
        raise ValueError(fault)
    return milliseconds
