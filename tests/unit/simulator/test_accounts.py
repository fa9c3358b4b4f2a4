import pytest

from penstock_simulator.accounts import Accounts
from penstock_simulator.refusal import LimitError
from penstock_simulator.settings import AccountLimits, AccountSettings


def account(models=("*",), **limits):
    settings = AccountSettings(name="a", key="key-a", limits=AccountLimits(**limits), models=models)
    return Accounts([settings], 0.0)["a"]


def test_the_credential_picks_the_account():
    accounts = Accounts([AccountSettings(name=name, key=f"key-{name}") for name in "ab"], 0.0)
    assert accounts.find("key-b") is accounts["b"]
    assert accounts.find("key-c") is None
    assert accounts.find("") is None
    assert accounts.find(None) is None


def test_requests_run_out_with_a_hint_and_come_back():
    one = account(requests_per_minute=2)
    one.admit(1, 0.0, 0.0)
    one.admit(1, 0.0, 0.0)
    with pytest.raises(LimitError) as refused:
        one.admit(1, 0.0, 0.0)
    assert refused.value.status == 429
    assert dict(refused.value.headers)["retry-after"] == "30"
    assert (refused.value.limit, refused.value.amount, refused.value.asked) == ("requests", 2, 1)
    assert refused.value.wait_seconds == pytest.approx(30)
    assert dict(refused.value.headers)["anthropic-ratelimit-requests-remaining"] == "0"
    one.admit(1, 30.0, 30.0)


def test_input_tokens_run_out_and_a_refused_request_takes_nothing():
    one = account(input_tokens_per_minute=600, requests_per_minute=100)
    one.admit(500, 0.0, 0.0)
    with pytest.raises(LimitError, match="600 input tokens per minute"):
        one.admit(200, 0.0, 0.0)
    assert one.shown(0.0)["remaining"] == {"requests": 99, "input-tokens": 100}
    one.admit(100, 0.0, 0.0)


def test_output_is_taken_when_sent_and_an_empty_bucket_refuses():
    one = account(output_tokens_per_minute=60)
    one.admit(1, 0.0, 0.0)
    one.sent(90, 0.0)
    with pytest.raises(LimitError, match="60 output tokens per minute") as refused:
        one.admit(1, 0.0, 0.0)
    assert dict(refused.value.headers)["retry-after"] == "31"


def test_open_requests_are_bounded_without_a_hint():
    one = account(concurrent_requests=1)
    assert one.enter() == 1
    one.admit(1, 0.0, 0.0)
    one.enter()
    with pytest.raises(LimitError, match="concurrent") as refused:
        one.admit(1, 0.0, 0.0)
    assert "retry-after" not in dict(refused.value.headers)
    assert (refused.value.limit, refused.value.wait_seconds) == ("concurrent", 0)
    one.leave()
    one.admit(1, 0.0, 0.0)
    assert (one.open, one.most_open) == (1, 2)


def test_count_tokens_has_a_bucket_of_its_own():
    one = account(requests_per_minute=1, count_tokens_per_minute=1)
    one.admit_count(0.0, 0.0)
    with pytest.raises(LimitError):
        one.admit_count(0.0, 0.0)
    one.admit(1, 0.0, 0.0)


def test_headers_only_for_limits_that_there_are():
    assert account().headers(0.0, 0.0) == []
    names = {name for name, _ in account(input_tokens_per_minute=10).headers(0.0, 0.0)}
    assert names == {
        f"anthropic-ratelimit-{kind}-{what}"
        for kind in ("input-tokens", "tokens")
        for what in ("limit", "remaining", "reset")
    }


def test_standings():
    one = account(requests_per_minute=60, output_tokens_per_minute=600)
    one.admit(1, 0.0, 0.0)
    one.sent(900, 0.0)
    assert one.standings(0.0) == {"requests": (60, 59, 1.0), "output-tokens": (600, 0, 90.0)}


def test_models_by_pattern():
    one = account(models=("claude-haiku-*",))
    assert one.serves("claude-haiku-4-5")
    assert not one.serves("claude-opus-4-8")
