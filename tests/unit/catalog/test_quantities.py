"""Durations, money and times as people write them."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_catalog import quantities

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@given(st.integers(1, 10**5), st.sampled_from("smhd"))
def test_a_duration_in_one_unit(number, unit):
    assert quantities.duration_ms(f"{number}{unit}") == number * SECONDS[unit] * 1000


@given(st.integers(1, 99), st.integers(0, 99), st.integers(0, 99))
def test_a_mixed_duration_is_the_sum(hours, minutes, seconds):
    assert quantities.duration_ms(f"{hours}h{minutes}m{seconds}s") == ((hours * 60 + minutes) * 60 + seconds) * 1000


@pytest.mark.parametrize(
    "text",
    ["", "5", "0s", "0h0m", "1x", "-1m", "1.5h", "1m1h", "1h ", " 1h", "1H", "1m\n", "٣s", "1ms", "9" * 20 + "s"],
)
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="duration"):
        quantities.duration_ms(text)


@given(st.integers(0, 10**15 - 1), st.integers(0, 6))
def test_money_is_exact(micro, spare):
    text = format(Decimal(micro) / 10**6, f".{6}f")
    while spare and text.endswith("0"):
        text, spare = text[:-1], spare - 1
    assert quantities.micro(text.removesuffix(".")) == micro


@pytest.mark.parametrize(
    "text",
    ["", ".5", "5.", "-1", "+1", "1e3", "1,5", "NaN", "Infinity", "0.0000001", "1_0", " 1", "1\n", "٣", "9" * 10],
)
def test_what_is_no_money(text):
    with pytest.raises(ValueError, match="decimal"):
        quantities.micro(text)


@given(
    st.datetimes(datetime(1970, 1, 3), datetime(2200, 1, 1)),  # noqa: DTZ001 - the zone comes from the next argument
    st.integers(-14 * 60, 14 * 60),
)
def test_a_time_in_any_zone(moment, offset_minutes):
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    expected = (zoned - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert quantities.time_ms(zoned.isoformat()) == expected


@pytest.mark.parametrize(("text", "expected"), [("1970-01-01T00:00:00Z", 0), ("2027-01-01t00:00:00.5z", 1798761600500)])
def test_known_times(text, expected):
    assert quantities.time_ms(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "2027-01-01", "2027-01-01T00:00:00", "2027-13-01T00:00:00Z", "2027-01-01 00:00:00Z", "soon", "1969-12-31T23:59:59Z",
     "2027-01-01T24:30:00Z", "2027-01-01T00:00:00+99:00", "9999-12-31T23:59:59-14:00"],
)  # fmt: skip
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="time"):
        quantities.time_ms(text)
