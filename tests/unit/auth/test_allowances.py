"""The policy of sizes and lives, and which limit a denial names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_auth.allowances import FAR_MS, NEAR_MS, Bound, Fill, Lent, Refused, bounds, decide, life_ms, weigh
from penstock_auth.counters import AllowCall, Limit, Reason, Scope, SpendLimit, Unit, Versioned

MASKS = {
    Unit.REQUESTS: (1, 0, 0, 0, 0),
    Unit.CONCURRENT: (0, 1, 0, 0, 0),
    Unit.INPUT_TOKENS: (0, 0, 1, 0, 0),
    Unit.TOTAL_TOKENS: (0, 0, 1, 1, 0),
}


def bound(unit=Unit.REQUESTS, amount=100, window_ms=60_000, reason=Reason.REQUESTS, name="x"):
    window_ms = 0 if unit is Unit.CONCURRENT else window_ms
    return Bound(name, unit, amount, window_ms, Scope.KEY, "k", unit.value, MASKS[unit], reason)


def verdict(fills, need=(1, 0, 0, 0, 0), want=(1, 0, 0, 0, 0), **around):
    base = {"edges": 1, "recovering": False, "strict": False, "reset": lambda _index, _short: 5_000}
    return decide(fills, need, want, **(base | around))


@pytest.mark.parametrize(
    ("free", "amount", "window_ms", "life"),
    [
        (0, 100, 60_000, 500),
        (50, 100, 60_000, 500),
        (75, 100, 60_000, 15_250),
        (100, 100, 60_000, 30_000),
        (100, 100, 10_000, 5_000),
        (40, 100, 1_000, 50),
        (40, 100, 60, 30),
        (1, 1, 1, 1),
        (90, 100, 0, 24_100),
        (10, 100, 0, 500),
        (-5, 100, 60_000, 500),
    ],
)
def test_lives_are_short_near_a_limit_and_grow_with_room(free, amount, window_ms, life):
    assert life_ms(free, amount, window_ms) == life


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(1, 10**8))
def test_lives_keep_their_bounds_and_grow(free, amount, window_ms):
    free = min(free, amount)
    life = life_ms(free, amount, window_ms)
    assert 1 <= life <= max(1, min(FAR_MS, window_ms // 2))
    if 2 * free < amount:
        assert life <= NEAR_MS
    assert life_ms(min(amount, free + 1), amount, window_ms) >= life


@given(
    free=st.integers(0, 200), need=st.integers(0, 50), more=st.integers(0, 500), edges=st.integers(1, 9),
    ahead=st.integers(0, 20),
)  # fmt: skip
def test_what_is_lent_fits_and_leaves_others_their_part(free, need, more, edges, ahead):
    fill = Fill(bound(amount=200), 200 - free, 0, ahead)
    found = verdict([fill], (need, 0, 0, 0, 0), (need + more, 0, 0, 0, 0), edges=edges)
    if isinstance(found, Refused):
        assert need > fill.free
        return
    lent = found.granted[0]
    assert need <= lent <= need + more
    assert lent <= max(need, fill.free // (2 * edges))
    assert need == 0 or lent <= fill.free


def test_the_refusal_that_lasts_longest_is_told():
    soon = Fill(bound(name="soon"), 100, 0)
    late = Fill(bound(name="late"), 100, 0)
    never = Fill(bound(amount=0, name="never"), 0, 0)
    resets = {0: 700, 1: 9_000}
    found = verdict([soon, late], reset=lambda index, _short: resets[index])
    assert (found.place, found.reset_ms, found.valid_ms) == (1, 9_000, 1_000)
    found = verdict([soon], reset=lambda _index, _short: 700)
    assert (found.reset_ms, found.valid_ms) == (700, 700)
    found = verdict([soon, never, late], reset=lambda index, _short: resets.get(index))
    assert (found.place, found.reset_ms) == (1, 0)


def test_another_ones_turn_is_over_soon():
    found = verdict([Fill(bound(), 99, 0, 1)])
    assert (found.reason, found.reset_ms) == (Reason.REQUESTS, 250)


@pytest.mark.parametrize("unit", [Unit.REQUESTS, Unit.CONCURRENT, Unit.INPUT_TOKENS])
def test_nothing_limited_is_lent_in_recovery(unit):
    need = MASKS[unit]
    found = verdict([Fill(bound(unit), 0, 0)], need, need, recovering=True)
    assert (found.reason, found.reset_ms, found.valid_ms) == (Reason.RECOVERING, 250, 250)
    nothing = (0, 0, 0, 0, 0)
    assert verdict([Fill(bound(unit), 0, 0)], nothing, need, recovering=True).granted == nothing


def test_too_large_is_refused_strictly_and_admitted_alone_otherwise():
    need = (0, 0, 60, 60, 0)
    total = bound(Unit.TOTAL_TOKENS, reason=Reason.TOKENS)
    assert verdict([Fill(total, 0, 0)], need, need, strict=True).reason is Reason.TOO_LARGE
    assert verdict([Fill(total, 0, 0)], need, (0, 0, 900, 900, 0)) == Lent(need, FAR_MS)
    assert verdict([Fill(total, 0, 1)], need, need).reason is Reason.TOKENS
    assert verdict([Fill(total, 0, 0)], need, need, recovering=True).reason is Reason.RECOVERING


def test_a_life_is_that_of_the_tightest_limit_that_was_lent_from():
    roomy, tight = Fill(bound(amount=10_000), 0, 0), Fill(bound(Unit.CONCURRENT, 10), 0, 8)
    need = (1, 1, 0, 0, 0)
    assert verdict([roomy, tight], need, need).life_ms > 29_000  # no spare slot is out
    tight.held = 0
    tight.bound = tight.bound._replace(amount=4)
    assert verdict([roomy, tight], need, (1, 2, 0, 0, 0)).life_ms == 500


def test_bounds_name_all_that_a_call_must_fit_under():
    call = AllowCall(
        "p", "k", "s", 1,
        limits=(
            Limit("total", Unit.TOTAL_TOKENS, 9, 1000),
            Limit("rpm", Unit.REQUESTS, 5, 1000, Scope.PROJECT),
        ),
        max_slots=3, credit=Versioned(70, 1), spend_limit=SpendLimit(50, Versioned(2, 1)),
    )  # fmt: skip
    found = bounds(call)
    assert [(b.name, b.amount, b.counter) for b in found] == [
        ("rpm", 5, "*:requests:1000"),
        ("total", 9, "k:TotalTokens:1000"),
        ("concurrent-requests", 3, "k:ConcurrentRequests:0"),
        ("spend-limit", 50, "k:CostMicroUSD:0"),
        ("credit", 70, "*:CostMicroUSD:0"),
    ]
    assert weigh(found[1].mask, (1, 2, 3, 4, 5)) == 7
