"""Problems: statuses, words, and whether a client library may repeat by itself."""

from __future__ import annotations

import typing

import pytest

from penstock_edge import errors
from penstock_edge.errors import Problem
from penstock_edge.records import Reason, Refused
from penstock_routing import outcomes


@pytest.mark.parametrize("reason", typing.get_args(Reason))
def test_every_refusal_has_an_answer(reason):
    problem = errors.refused(Refused(reason, "five-hours", 100, "TotalTokens", 1500))
    assert 400 <= problem.status < 600
    assert "{" not in problem.message
    if problem.retry_after is not None:
        assert problem.retry_after_seconds == 2


@pytest.mark.parametrize(
    ("cls", "status", "kind"),
    [
        (outcomes.THROTTLED, 429, "rate_limit_error"),
        (outcomes.THROTTLED_NO_HINT, 429, "rate_limit_error"),
        (outcomes.OVERLOADED, 529, "overloaded_error"),
        *[(cls, 502, "api_error") for cls in outcomes.CLASSES[outcomes.CLASSES.index(outcomes.UNSTABLE) :]],
    ],
)
def test_the_last_failure(cls, status, kind):
    problem = errors.last_failure(cls, 3.2)
    assert (problem.status, problem.kind, problem.retry_after_seconds) == (status, kind, 4)


@pytest.mark.parametrize(
    ("problem", "may"),
    [
        (Problem(400, "x", ""), False),
        (Problem(401, "x", ""), False),
        (Problem(408, "x", ""), True),
        (Problem(409, "x", ""), True),
        (Problem(429, "x", "", retry_after=60), True),
        (Problem(429, "x", "", retry_after=61), False),
        (Problem(429, "x", "", needs_person=True), False),
        (Problem(500, "x", ""), True),
        (Problem(529, "x", "", retry_after=300), False),
    ],
)
def test_who_may_repeat(problem, may):
    assert problem.should_retry is may


@pytest.mark.parametrize(("seconds", "said"), [(None, None), (0.0, 1), (0.2, 1), (1.0, 1), (1.01, 2)])
def test_retry_after_is_never_too_short(seconds, said):
    assert Problem(429, "x", "", retry_after=seconds).retry_after_seconds == said


@pytest.mark.parametrize(("throttled", "status"), [(True, 429), (False, 529)])
def test_no_account(throttled, status):
    assert errors.none_left(throttled=throttled, soonest_seconds=2.5).status == status
