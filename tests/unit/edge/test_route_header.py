"""The header that tells where a request has been, and who is shown it."""

import pytest

SESSION = {"x-claude-code-session-id": "s"}


@pytest.fixture
def shown(books, play):
    books.key = play.key_facts(shows_route=True)
    return books


async def test_nobody_else_is_shown_it(gateway, books, play):
    edge = await gateway([play.answer()])
    assert "penstock-route" not in (await edge.post()).headers
    assert "penstock-route" not in (await edge.post(stream=True)).headers


async def test_a_failover_is_told(gateway, shown, play):
    edge = await gateway([play.failure(529)], [play.answer()], [play.answer()], tiers=True)
    answer = await edge.post(headers=SESSION)
    assert answer.headers["penstock-route"] == "a=tried(Overloaded), b=taken(only one left), c=next"
    again = await edge.post(headers=SESSION)
    # It has served the conversation, and ten seconds of cooling have begun.
    assert again.headers["penstock-route"].startswith("b=taken(affinity), c=next, a=cooling(Overloaded ")


@pytest.mark.parametrize(("headers", "why"), [(SESSION, "affinity"), ({}, "load")])
async def test_why_it_was_this_one(gateway, shown, play, headers, why):
    edge = await gateway([play.answer()], [play.answer()])
    told = (await edge.post(headers=headers)).headers["penstock-route"]
    assert told in {f"a=taken({why}), b=next", f"b=taken({why}), a=next"}


async def test_streams_tell_it_too(gateway, shown, play):
    edge = await gateway([play.stream()])
    answer, _ = await edge.events()
    assert answer.headers["penstock-route"] == "a=taken(only one)"


async def test_a_refusal_tells_of_everybody(gateway, shown, play):
    edge = await gateway([play.failure(529)], [play.failure(429, retry_after="7")], tiers=True)
    answer = await edge.post()
    assert answer.status_code in {429, 529}
    assert answer.headers["penstock-route"] == "a=tried(Overloaded), b=tried(Throttled)"


async def test_one_that_is_asked_although_it_cools_is_told(gateway, shown, play):
    overloaded = [play.failure(529)]
    edge = await gateway(*([*overloaded, play.answer()] for _ in range(4)))
    assert (await edge.post()).status_code == 529
    told = (await edge.post()).headers["penstock-route"].split(", ")
    assert told[0].endswith("=taken(storm)")
    assert {one.partition("=")[2] for one in told[1:]} == {"next(Storm)"}


async def test_accounts_of_other_providers_are_dropped(gateway, shown, play):
    shown.key = play.key_facts(shows_route=True, translation="Deny")
    edge = await gateway([play.answer()], [play.answer()], providers=["Anthropic", "OpenAI"])
    told = (await edge.post()).headers["penstock-route"]
    assert told == "a=taken(only one left), b=dropped(OtherProvider)"


async def test_no_credential_and_no_address_is_in_it(gateway, shown, play):
    edge = await gateway([play.failure(401)], [play.answer()], tiers=True)
    told = (await edge.post()).headers["penstock-route"]
    assert "sk-upstream" not in told
    assert str(edge.upstreams[0].port) not in told
