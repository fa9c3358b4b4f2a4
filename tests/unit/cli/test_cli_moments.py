from datetime import UTC, datetime, timedelta

import pytest

from penstock_cli import moments

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ahead", "moment"),
    [
        ("1h", False, NOW - timedelta(hours=1)),
        ("1h", True, NOW + timedelta(hours=1)),
        ("90s", False, NOW - timedelta(seconds=90)),
        ("15m", False, NOW - timedelta(minutes=15)),
        ("7d", True, NOW + timedelta(days=7)),
        ("2w", True, NOW + timedelta(days=14)),
        ("2027-01-01", True, datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-01-01T10:00:00Z", True, datetime(2027, 1, 1, 10, tzinfo=UTC)),
        ("2027-01-01T10:00:00+02:00", True, datetime(2027, 1, 1, 8, tzinfo=UTC)),
    ],
)
def test_times(text, ahead, moment):
    assert moments.parse(text, NOW, ahead=ahead) == moment


@pytest.mark.parametrize("text", ["", "tomorrow", "7y", "-1h", "2027-13-01", "999999999w"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="is not a time"):
        moments.parse(text, NOW, ahead=True)


def test_shown_times():
    assert moments.show("2027-01-01T10:00:00.123000Z") == "2027-01-01 10:00:00Z"
    assert moments.show(None) == "-"
