from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.auth.v1 import auth_pb2
from penstock_edge.records import AttemptRecord, Closed, DeliveryState, Opened, Usage
from penstock_edge.settlement_messages import SettlementMessages, abandoned

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TOKENS = st.integers(0, 300) | st.integers(0, 10**9)
MS = st.integers(1_700_000_000_000, 1_700_000_040_000) | st.integers(-(1 << 63), (1 << 63) - 1)
SMALL = st.integers(-1, 70_000)
UINT32 = st.integers(0, 600) | st.integers(0, (1 << 32) - 1)

USAGE = st.builds(Usage, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS)
ATTEMPT = st.builds(
    AttemptRecord,
    index=UINT32,
    account=TEXT,
    cls=st.sampled_from(["Ok", "Throttled"]) | TEXT,
    status=UINT32,
    usage=st.just(Usage()) | USAGE,
    reported=st.booleans(),
    estimated=st.booleans(),
    upstream_request_id=TEXT,
    started_at_ms=MS,
    first_byte_ms=SMALL,
    duration_ms=SMALL,
    upstream_model=TEXT,
)
OPENED = st.builds(
    Opened,
    request_id=TEXT,
    key_id=TEXT,
    key_sha256=st.binary(max_size=40),
    project=TEXT,
    model=TEXT,
    dialect=TEXT,
    price_digest=TEXT,
    price_multiplier_ppm=MS,
    admitted_at_ms=MS,
    started_at_ms=MS,
    streamed=st.booleans(),
)
CLOSED = st.builds(
    Closed,
    request_id=TEXT,
    state=st.sampled_from(get_args(DeliveryState)),
    estimated=st.booleans(),
    delivered=st.integers(-1, 5),
    attempts=st.lists(ATTEMPT, max_size=3),
    ended_at_ms=MS,
    client_status=UINT32,
)


def read(*rows):
    return list(auth_pb2.SettleRequest.FromString(b"".join(rows)).settlements)


def whole(session, opened, closed):
    """The same, filled in field by field in the generated class."""
    row = auth_pb2.Settlement(
        edge_session=session,
        **{name: getattr(opened, name) for name in opened.__struct_fields__ if not name.startswith("hold_")},
        **{name: getattr(closed, name) for name in ("estimated", "delivered", "ended_at_ms", "client_status")},
        state=auth_pb2.DeliveryState.Value(f"DELIVERY_STATE_{closed.state.upper()}"),
    )
    for attempt in closed.attempts:
        facts = {name: getattr(attempt, name) for name in attempt.__struct_fields__ if name not in {"cls", "usage"}}
        used = {name: getattr(attempt.usage, name) for name in attempt.usage.__struct_fields__}
        row.attempts.add(
            **facts, usage=auth_pb2.Usage(**used) if any(used.values()) else None, **{"class": attempt.cls}
        )
    return row


@given(st.lists(st.tuples(TEXT, OPENED, CLOSED), min_size=1, max_size=4))
def test_rows_are_what_the_generated_class_would_say(ends):
    messages = SettlementMessages()
    # Each twice: from a pattern that is new, and from one that is known.
    assert read(*(messages.row(*end) for end in ends * 2)) == [whole(*end) for end in ends * 2]


OPEN = Opened("r1", "k", b"d", "p", "m", "anthropic", "0", 1_000_000, 5, 6)


@pytest.mark.parametrize(
    "end",
    [
        Closed("r1", "complete", attempts=[AttemptRecord(-1, "a")]),
        Closed("r1", "complete", attempts=[AttemptRecord(0, "a", status=1 << 32)]),
        Closed("r1", "complete", attempts=[AttemptRecord(0, "a", duration_ms=1 << 63)]),
        Closed("r1", "complete", attempts=[AttemptRecord(0, "a", usage=Usage(1 << 64))]),
        Closed("r1", "complete", attempts=[AttemptRecord(0, "a", upstream_request_id="\ud800")]),
        Closed("r1", "complete", attempts=[AttemptRecord(0, "a\ud800")]),
        Closed("r1", "complete", attempts=[AttemptRecord(0, "a", started_at_ms="soon")]),
        Closed("r1", "complete", client_status=-1),
        Closed("r1", "complete", delivered=1 << 31),
        Closed("r1", "complete", ended_at_ms=1 << 63),
    ],
)
def test_what_a_message_cannot_carry_is_abandoned_and_harms_no_other(end):
    messages = SettlementMessages()
    good = Closed("r1", "complete", ended_at_ms=7)
    rows = read(*(messages.row("s", OPEN, each) for each in (good, end, good)))
    assert rows == [whole("s", OPEN, each) for each in (good, abandoned(OPEN), good)]
