import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_cli import money


@given(st.integers(min_value=-(10**17), max_value=10**17))
def test_there_and_back(micro):
    assert money.parse_usd(money.show_usd(micro).replace(",", "")) == micro


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("12.50", 12_500_000),
        ("$3", 3_000_000),
        (" 0.000001 ", 1),
        ("-1.5", -1_500_000),
        ("1e2", 10**8),
        ("0.50" + "0" * 60, 500_000),
    ],
)
def test_what_people_write(text, micro):
    assert money.parse_usd(text) == micro


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "1,000",
        "0.0000001",
        "NaN",
        "Infinity",
        "1e30",
        "--1",
        "1e999999",
        "1e-99999999",
        "9" * 40,
        "sNaN",
        "0." + "1" * 6 + "0" * 40 + "1",
    ],
)
def test_what_is_no_amount(text):
    with pytest.raises(ValueError, match=r"amount|decimals"):
        money.parse_usd(text)


@pytest.mark.parametrize(
    ("micro", "text"), [(0, "$0.00"), (1, "$0.000001"), (1_500_000, "$1.50"), (-1_234_567_890_000, "-$1,234,567.89")]
)
def test_what_is_shown(micro, text):
    assert money.show_usd(micro) == text
