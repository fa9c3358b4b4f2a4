import pytest

from penstock_simulator.accounts import Account
from penstock_simulator.openai import limits
from penstock_simulator.refusal import LimitError
from penstock_simulator.settings import AccountLimits, AccountSettings


def account(**given):
    return Account(AccountSettings(name="a", key="k", limits=AccountLimits(**given)), 0.0)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0ms"), (0.0204, "21ms"), (1, "1s"), (1.5, "1.5s"), (59.9999, "1m0s"), (90, "1m30s"), (360.25, "6m0.25s")],
)
def test_durations(seconds, written):
    assert limits.duration(seconds) == written


def test_headers_only_for_limits_that_there_are():
    assert limits.headers(account(), 0.0) == []
    one = account(requests_per_minute=60, input_tokens_per_minute=600, output_tokens_per_minute=60)
    one.admit(30, 0.0, 0.0)
    one.sent(30, 0.0)
    assert dict(limits.headers(one, 0.0)) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        # the scarcer of the two limits of tokens
        "x-ratelimit-limit-tokens": "60",
        "x-ratelimit-remaining-tokens": "30",
        "x-ratelimit-reset-tokens": "30s",
    }


@pytest.mark.parametrize(
    ("given", "kind", "words", "wait"),
    [
        ({"requests_per_minute": 1}, "requests", "on requests per min (RPM): Limit 1, Used 1, Requested 1.", "60"),
        ({"input_tokens_per_minute": 60}, "tokens", "on tokens per min (TPM): Limit 60, Used 40, Requested 40.", "20"),
        ({"concurrent_requests": 1}, "requests", "on concurrent requests: Limit 1", None),
    ],
)
def test_the_refusal(given, kind, words, wait):
    one = account(**given)
    one.enter()
    one.admit(40, 0.0, 0.0)
    one.enter()
    with pytest.raises(LimitError) as refused:
        one.admit(40, 0.0, 0.0)
    refusal = limits.refused(refused.value, one, "gpt-4o", 0.0)
    assert (refusal.status, refusal.kind, refusal.code) == (429, kind, "rate_limit_exceeded")
    assert refusal.message.startswith("Rate limit reached for gpt-4o in organization org_sim_")
    assert words in refusal.message
    headers = dict(refusal.headers)
    assert headers.get("retry-after") == wait
    assert headers.get("retry-after-ms") == (f"{wait}000" if wait else None)
    assert ("Please try again in" in refusal.message) == (wait is not None)
    assert not any(name.startswith("anthropic") for name in headers)
