"""Contexts, the lot, and who is traced."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_chassis import tracing
from penstock_chassis.tracing import CURRENT, Lot, Sampling, TraceContext, Tracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Nowhere:
    def __init__(self):
        self.spans = []

    def put(self, spans):
        self.spans += spans


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"  00-{TRACE}-{SPAN}-01 ", True),
        (f"cc-{TRACE}-{SPAN}-01-what-later-versions-say", True),
    ],
)
def test_a_context_is_read(text, sampled):
    expected = TraceContext(int(TRACE, 16), int(SPAN, 16), sampled)
    assert tracing.parse(text) == tracing.parse(text.encode()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-011",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00_{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE[:-1]}_-{SPAN}-01",
    ],
)
def test_what_is_no_context_is_none(text):
    assert tracing.parse(text) is None


@given(st.binary(max_size=80))
def test_no_bytes_hurt(data):
    tracing.parse(data)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read(trace_id, span_id, sampled):
    context = TraceContext(trace_id, span_id, sampled)
    assert tracing.parse(context.header()) == context


@pytest.mark.parametrize("ratio", [0.0, 0.001, 0.01, 0.3, 1.0])
def test_the_lot_hits_its_part(ratio):
    rng = random.Random(7)
    lot = Lot(ratio, rng.random)
    draws = 200_000
    hits = sum(lot.drawn() for _ in range(draws))
    spread = 5 * (draws * ratio * (1 - ratio)) ** 0.5
    assert abs(hits - draws * ratio) <= spread


def test_the_first_request_is_hit_no_oftener_than_others():
    rng = random.Random(3)
    assert 30 < sum(Lot(0.01, rng.random).drawn() for _ in range(5_000)) < 75


@pytest.mark.parametrize("ratio", [5e-324, 1e-310, 1e-300])
def test_a_part_next_to_nothing_hits_nothing(ratio):
    assert not any(Lot(ratio, lambda: 0.5).drawn() for _ in range(100))


def test_callers_decide_where_they_are_asked():
    tracer = Tracer(Sampling(0.0, parent_based=True), Nowhere())
    own, parent = tracer.joins(f"00-{TRACE}-{SPAN}-01")
    assert own.trace_id == int(TRACE, 16)
    assert parent == int(SPAN, 16) != own.span_id
    assert tracer.joins(None) is None
    everything = Tracer(Sampling(1.0, parent_based=True), Nowhere())
    assert everything.joins(f"00-{TRACE}-{SPAN}-00") is None
    assert everything.joins("nonsense")[1] == 0


def test_callers_decide_nothing_where_they_are_not_asked():
    tracer = Tracer(Sampling(1.0, parent_based=False), Nowhere())
    own, parent = tracer.joins(f"00-{TRACE}-{SPAN}-00")
    assert own.trace_id != int(TRACE, 16)
    assert parent == 0
    assert Tracer(Sampling(0.0, parent_based=False), Nowhere()).joins(f"00-{TRACE}-{SPAN}-01") is None


def test_calls_carry_on_what_goes_on():
    assert tracing.outgoing() is None
    context = TraceContext(int(TRACE, 16), int(SPAN, 16))
    token = CURRENT.set(context)
    assert tracing.outgoing() == (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
    other = context.child()
    assert tracing.outgoing(other) == (("traceparent", other.header()),)
    CURRENT.reset(token)


def test_work_of_ones_own_is_drawn_by_lot():
    kept = Nowhere()
    with tracing.work("turn"):
        assert CURRENT.get() is None
    tracing.activate(Tracer(Sampling(1.0, parent_based=True), kept))
    try:
        with tracing.work("turn"):
            inside = CURRENT.get()
        with pytest.raises(ValueError), tracing.work("turn"):
            raise ValueError("with words that nobody need see")
    finally:
        tracing.activate(None)
    well, ill = kept.spans
    assert (well.name, well.context, well.error, ill.error) == ("turn", inside, "", "ValueError")
    assert CURRENT.get() is None
