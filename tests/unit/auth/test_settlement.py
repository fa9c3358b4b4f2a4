from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.auth.v1 import auth_pb2
from penstock_auth.pricing import NO_USAGE, Usage
from penstock_auth.settlement import Poison, State, bill, charged_usage, check, sound
from penstock_auth.translation import incoming
from penstock_catalog.prices import PriceRow

PRICE = PriceRow(
    effective_at_ms=0, input=3_000_000, output=15_000_000, cache_write_5m=1, cache_write_1h=2, cache_read=3
)

int64 = st.one_of(st.integers(0, 10_000), st.integers(-(2**63), 2**63 - 1))
uint32 = st.one_of(st.integers(0, 600), st.integers(0, 2**32 - 1))
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
usage = st.builds(
    auth_pb2.Usage,
    input_tokens=int64,
    output_tokens=int64,
    cache_read_input_tokens=int64,
    cache_write_5m_input_tokens=int64,
    cache_write_1h_input_tokens=int64,
)
attempt = st.builds(
    auth_pb2.Attempt,
    index=st.one_of(st.integers(0, 3), uint32),
    account=text,
    status=uint32,
    usage=usage,
    started_at_ms=int64,
    first_byte_ms=int64,
    duration_ms=int64,
)
message = st.builds(
    auth_pb2.Settlement,
    request_id=text,
    project=text,
    key_id=text,
    price_multiplier_ppm=int64,
    admitted_at_ms=int64,
    started_at_ms=int64,
    ended_at_ms=int64,
    state=st.integers(0, 9),
    delivered=st.integers(-3, 4),
    attempts=st.lists(attempt, max_size=4),
    client_status=uint32,
)


@given(message)
def test_whatever_comes_is_fit_for_sql_or_poison(made):
    read = incoming(made)
    if read.settlement is None:
        assert read.problem is not None
        return
    try:
        check(read.settlement)
        result = bill(read.settlement, PRICE)
    except Poison:
        return
    assert 0 <= result.cost_micro < 2**63
    assert all(0 <= cost < 2**63 for cost in result.attempt_costs)
    assert "\0" not in read.request_id
    if read.settlement.state in {State.ABANDONED, State.ERROR_BEFORE_OUTPUT}:
        assert (result.usage, result.cost_micro) == (NO_USAGE, 0)
    else:
        delivered = [each.usage for each in read.settlement.attempts if each.index == made.delivered]
        assert [result.usage] == (delivered or [NO_USAGE])


def passes(settlement) -> bool:
    try:
        check(settlement)
    except Poison:
        return False
    return True


@given(st.lists(message, max_size=4))
def test_a_batch_is_sound_when_each_of_it_is(made):
    read = [each.settlement for each in map(incoming, made) if each.settlement is not None]
    assert sound(read) == all(map(passes, read))


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": ""},
        {"request_id": "r" * 65},
        {"model": "a\0b"},
        {"price_multiplier_ppm": -1},
        {"ended_at_ms": 2**60},
        {"client_status": 1000},
        {"delivered": 1},
        {"delivered": -1},
        {"attempts": [auth_pb2.Attempt(), auth_pb2.Attempt()]},
        {"attempts": [auth_pb2.Attempt(index=number) for number in range(65)]},
        {"attempts": [auth_pb2.Attempt(account="a" * 254)]},
        {"attempts": [auth_pb2.Attempt(first_byte_ms=2**60)]},
        {"attempts": [auth_pb2.Attempt(usage=auth_pb2.Usage(cache_read_input_tokens=-1))]},
        {"attempts": [auth_pb2.Attempt(usage=auth_pb2.Usage(output_tokens=10**9 + 1))]},
    ],
)
def test_one_that_is_not_makes_the_batch_unsound(change):
    usual = {"request_id": "r", "state": 1, "attempts": [auth_pb2.Attempt()]}
    good, bad = (incoming(auth_pb2.Settlement(**facts)).settlement for facts in (usual, usual | change))
    assert sound([good, good])
    assert not passes(bad)
    assert not sound([good, bad, good])


@pytest.mark.parametrize("state", list(State))
def test_without_a_price_nothing_is_charged(state):
    name = f"DELIVERY_STATE_{state.name}"
    delivered = auth_pb2.Attempt(usage=auth_pb2.Usage(input_tokens=5))
    made = incoming(auth_pb2.Settlement(request_id="r", state=name, attempts=[delivered])).settlement
    assert made.needs_price
    result = bill(made, None)
    assert (result.cost_micro, result.attempt_costs) == (0, (0,))
    assert charged_usage(made) == (NO_USAGE if result.usage.empty else Usage(5))


def test_sums_beyond_any_request_are_poison():
    dear = PRICE.model_copy(update={"output": 10**18})
    delivered = auth_pb2.Attempt(usage=auth_pb2.Usage(output_tokens=10**9))
    made = incoming(auth_pb2.Settlement(request_id="r", state=1, attempts=[delivered], price_multiplier_ppm=10**6))
    check(made.settlement)
    with pytest.raises(Poison, match="beyond any"):
        bill(made.settlement, dear)
