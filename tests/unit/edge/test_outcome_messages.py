from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.router.v1 import router_pb2
from penstock_edge.outcome_messages import OutcomeMessages
from penstock_routing import Outcome
from penstock_routing.accounts import Hints

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SECONDS = st.floats(0, 1e6)
FIGURE = st.integers(-1, 10**12)
HINTS = st.builds(
    Hints,
    requests_limit=FIGURE,
    requests_remaining=FIGURE,
    requests_reset_ms=FIGURE,
    tokens_limit=FIGURE,
    tokens_remaining=FIGURE,
    tokens_reset_ms=FIGURE,
)
OUTCOME = st.builds(
    Outcome,
    request_id=TEXT,
    project=TEXT,
    account=TEXT,
    model=TEXT,
    operation=TEXT,
    cls=TEXT,
    status=st.integers(0, 599),
    retry_after=st.none() | SECONDS,
    sent_at=SECONDS,
    ended_at=SECONDS,
    first_byte=st.booleans(),
    tokens=st.integers(-1, 10**10),
    trial=st.booleans(),
    hints=st.none() | HINTS,
)


def whole(o, now):
    """The same, filled in field by field in the generated class."""
    row = router_pb2.Outcome(
        **{name: getattr(o, name) for name in ("request_id", "project", "account", "model", "operation", "status")},
        **{"class": o.cls, "tokens": o.tokens, "trial": o.trial, "first_byte_ms": 0 if o.first_byte else -1},
        retry_after_ms=-1 if o.retry_after is None else int(o.retry_after * 1000),
        sent_ago_ms=max(0, int((now - o.sent_at) * 1000)),
        ended_ago_ms=max(0, int((now - o.ended_at) * 1000)),
        duration_ms=max(0, int((o.ended_at - o.sent_at) * 1000)),
    )
    if o.hints is not None:
        for field in row.hints.DESCRIPTOR.fields:
            setattr(row.hints, field.name, getattr(o.hints, field.name))
        row.hints.SetInParent()
    return row


@given(st.lists(OUTCOME, min_size=1, max_size=4), SECONDS)
def test_rows_are_what_the_generated_class_would_say(outcomes, now):
    messages = OutcomeMessages()
    # Each twice: from a pattern that is new, and from one that is known.
    request = router_pb2.ReportRequest.FromString(b"".join(messages.row(each, now) for each in outcomes * 2))
    assert list(request.outcomes) == [whole(each, now) for each in outcomes * 2]
