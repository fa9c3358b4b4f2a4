from __future__ import annotations

from penstock.router.v1 import router_pb2
from penstock_edge.outcome_messages import OutcomeMessages
from penstock_routing import Outcome
from penstock_routing.accounts import Hints


def outcome(name, **changed):
    facts = {"account": "a", "model": "m", "project": "p", "status": 200, "sent_at": 10.0, "ended_at": 10.5}
    return Outcome(**{"request_id": name, "first_byte": True, "tokens": 7, **facts, **changed})


def test_what_is_like_another_still_has_its_own_figures():
    messages, request = OutcomeMessages(), router_pb2.ReportRequest()
    messages.fill(request.outcomes.add(), outcome("one"), 11.0)
    messages.fill(request.outcomes.add(), outcome("two", ended_at=10.25, first_byte=False, trial=True, tokens=-1), 12.0)
    one, two = request.outcomes
    assert [row.request_id for row in (one, two)] == ["one", "two"]
    assert [(row.sent_ago_ms, row.ended_ago_ms, row.duration_ms) for row in (one, two)] == [
        (1000, 500, 500),
        (2000, 1750, 250),
    ]
    assert [(row.tokens, row.first_byte_ms, row.trial) for row in (one, two)] == [(7, 0, False), (-1, -1, True)]
    assert {(row.project, row.account, row.model, row.operation, getattr(row, "class")) for row in (one, two)} == {
        ("p", "a", "m", "messages", "Ok")
    }


def test_a_failure_with_hints_arrives_whole_and_leaves_nothing_to_the_next():
    messages, request = OutcomeMessages(), router_pb2.ReportRequest()
    bad = {"cls": "Throttled", "status": 429}
    messages.fill(
        request.outcomes.add(), outcome("bad", **bad, retry_after=2.5, hints=Hints(requests_remaining=2)), 11.0
    )
    messages.fill(request.outcomes.add(), outcome("next", **bad), 11.0)
    one, two = request.outcomes
    assert (one.retry_after_ms, one.status, getattr(one, "class")) == (2500, 429, "Throttled")
    assert one.HasField("hints")
    assert (two.retry_after_ms, two.HasField("hints")) == (-1, False)
