"""The attempt loop before scripted upstreams."""

from __future__ import annotations


async def test_a_unary_request_goes_through(gateway, books, play):
    edge = await gateway([play.answer()])
    answer = await edge.post()
    assert answer.status_code == 200
    assert answer.json()["content"][0]["text"] == "Hello"
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["penstock-input-tokens"] == "10"
    assert answer.headers["penstock-output-tokens"] == "5"
    assert answer.headers["penstock-cost-micro"] == str(10 * 3 + 5 * 15)
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.delivered, closed.estimated) == ("complete", 0, False)
    assert closed.attempts[0].usage.output_tokens == 5
    assert (books.holds, books.slots) == (0, 0)


async def test_a_stream_goes_through(gateway, books, play):
    edge = await gateway([play.stream()])
    answer, names = await edge.events()
    assert answer.status_code == 200
    assert answer.content == b"".join(play.whole_stream())
    assert names[-1] == "message_stop"
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.estimated) == ("complete", False)
    assert closed.attempts[0].usage.output_tokens == 5


async def test_failover_before_output(gateway, books, play):
    edge = await gateway([play.failure(529, "overloaded_error")], [play.answer()], tiers=True)
    answer = await edge.post()
    assert answer.status_code == 200
    [closed] = await books.settled_count(1)
    assert [a.cls for a in closed.attempts] == ["Overloaded", "Ok"]
    assert closed.delivered == 1
