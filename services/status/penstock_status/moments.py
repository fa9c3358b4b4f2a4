"""Times of the admin API: integer milliseconds on the wire to auth, aware datetimes in documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def of_ms(milliseconds: int) -> datetime:
    """Return the moment of a unix time in ms; the first or the last there is when that is beyond it."""
    return _EPOCH + timedelta(milliseconds=min(max(milliseconds, _FIRST_MS), _LAST_MS))


def of_ms_or_none(milliseconds: int) -> datetime | None:
    """Return the same; 0 means there is none."""
    return of_ms(milliseconds) if milliseconds else None


def to_ms(moment: datetime | None) -> int:
    """Return the unix time in ms; 0 for none, which no moment is. One without a zone is taken as UTC."""
    if moment is None:
        return 0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    # 0 would say that there is no end; and nothing here is older than a computer's time.
    return max((aware - _EPOCH) // timedelta(milliseconds=1), 1)
