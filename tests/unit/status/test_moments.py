from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_status import moments


@given(st.integers(min_value=1, max_value=4_000_000_000_000))
def test_there_and_back(milliseconds):
    assert moments.to_ms(moments.of_ms(milliseconds)) == milliseconds


def test_zero_is_none():
    assert moments.of_ms_or_none(0) is None
    assert moments.to_ms(None) == 0


@pytest.mark.parametrize("year", [1970, 1969, 1])
def test_no_moment_is_none(year):
    """A key that ended at the beginning of all time would never end, and a sum until then would be of everything."""
    assert moments.to_ms(datetime(year, 1, 1, tzinfo=UTC)) == 1


def test_a_naive_moment_is_utc():
    assert moments.to_ms(datetime(2026, 1, 1)) == moments.to_ms(datetime(2026, 1, 1, tzinfo=UTC))  # noqa: DTZ001 -- the case
    shifted = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert moments.to_ms(shifted) == moments.to_ms(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(("milliseconds", "year"), [(2**63 - 1, 9999), (253_402_300_800_000, 9999), (-(2**63), 1)])
def test_what_is_beyond_all_calendars_is_the_first_or_the_last_moment(milliseconds, year):
    """One key with such a time would else keep all keys from being listed."""
    assert moments.of_ms(milliseconds).year == year
