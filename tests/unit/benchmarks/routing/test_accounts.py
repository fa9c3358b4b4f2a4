"""The models of accounts do what the providers' documentation says of limits, caches, quotas and faults."""

from __future__ import annotations

import math
from random import Random

import pytest
from benchmarks.routing.accounts.account import Account
from benchmarks.routing.accounts.cache import PromptCache
from benchmarks.routing.accounts.faults import Kind
from benchmarks.routing.accounts.latency import Latency
from benchmarks.routing.accounts.manners import ANTHROPIC, GEMINI, OPENAI, ModelLimits
from benchmarks.routing.accounts.refill import Refill
from benchmarks.routing.accounts.window import Window
from benchmarks.routing.clients.turns import Turn

LIMITS = ModelLimits(requests=600, input=60_000, output=12_000)


def turn(prompt: int = 10_000, output: int = 100, session: str = "s", max_tokens: int = 1_000, **more) -> Turn:
    fields = {
        "project": "p",
        "named": True,
        "model": "m",
        "prefix": "p/m",
        "prefix_tokens": 2_000,
        "stream": True,
        "gap": 0.0,
    }
    return Turn(
        session=session, prompt_tokens=prompt, output_tokens=output, max_tokens=max_tokens, **{**fields, **more}
    )


def account(manner=ANTHROPIC, limits: ModelLimits = LIMITS, **more) -> Account:
    return Account("a", manner, {"m": limits}, Latency(), Random(1), **more)


class TestRefill:
    def test_refills_continuously_up_to_a_minute(self):
        bucket = Refill(600)
        bucket.take(600, 0.0)
        assert bucket.left(0.0) == 0
        assert bucket.left(1.0) == pytest.approx(10)
        assert bucket.wait(30, 1.0) == pytest.approx(2.0)
        assert bucket.left(1000.0) == 600

    def test_running_answers_drain_it_while_they_run(self):
        bucket = Refill(600)
        bucket.drained(40.0, 0.0)
        assert bucket.left(10.0) == pytest.approx(600 - 300)
        bucket.drained(-40.0, 10.0)
        assert bucket.left(11.0) == pytest.approx(310)
        assert bucket.taken == pytest.approx(400)

    def test_what_flows_over_is_lost(self):
        bucket = Refill(600)
        bucket.take(10, 0.0)
        bucket.left(3.0)
        assert bucket.lost == pytest.approx(20)

    def test_a_request_larger_than_the_bucket_waits_for_a_full_one(self):
        bucket = Refill(60)
        bucket.take(30, 0.0)
        assert bucket.wait(1_000, 0.0) == pytest.approx(30)


class TestCache:
    def test_remembers_a_conversation_for_five_minutes_from_its_last_use(self):
        cache = PromptCache()
        cache.written("m", "s", "p", 2_000, 10_000, 0.0)
        assert cache.found("m", "s", "p", 2_000, 299.0) == 10_000
        assert cache.found("m", "s", "p", 2_000, 301.0) == 0

    def test_another_conversation_finds_what_all_of_the_project_begin_with(self):
        cache = PromptCache()
        cache.written("m", "s", "p", 2_000, 10_000, 0.0)
        assert cache.found("m", "t", "p", 2_000, 1.0) == 2_000
        assert cache.found("m", "t", "q", 2_000, 1.0) == 0
        assert cache.found("n", "s", "p", 2_000, 1.0) == 0

    def test_short_prompts_are_not_kept(self):
        cache = PromptCache()
        cache.written("m", "s", "p", 500, 900, 0.0)
        assert cache.found("m", "s", "p", 500, 1.0) == 0


class TestCounting:
    def test_anthropic_does_not_count_what_it_reads_from_the_cache(self):
        played = account()
        first = played.takes(turn(), 0.0)
        assert (first.status, first.cached) == (200, 0)
        played.begins(turn(), first, 1.0)
        second = played.takes(turn(11_000), 2.0)
        assert second.cached == 10_000
        assert played.buckets["m"].input.left(2.0) == pytest.approx(60_000 - 10_000 + 2_000 - 1_000)

    @pytest.mark.parametrize(("manner", "counted"), [(OPENAI, 11_000 + 1_000), (GEMINI, 11_000)])
    def test_others_count_cached_input_too(self, manner, counted):
        played = account(manner)
        first = played.takes(turn(), 0.0)
        played.begins(turn(), first, 1.0)
        before = played.buckets["m"].input.left(2.0)
        assert played.takes(turn(11_000), 2.0).cached == 10_000
        assert before - played.buckets["m"].input.left(2.0) == counted

    def test_a_prompt_is_refused_by_its_size_and_told_when_it_would_fit(self):
        played = account()
        assert played.takes(turn(55_000), 0.0).status == 200
        large = played.takes(turn(25_000, session="t"), 0.0)
        assert (large.status, large.retry_after) == (429, 20.0)
        assert played.takes(turn(4_000, session="u"), 0.0).status == 200

    def test_output_counts_as_it_is_produced_and_not_by_max_tokens(self):
        played = account(limits=ModelLimits(600, 10_000_000, 600))
        reply = played.takes(turn(output=900, max_tokens=100_000), 0.0)
        assert reply.status == 200
        played.begins(turn(output=900), reply, reply.begins)
        assert played.takes(turn(output=5, session="t"), reply.begins).status == 200
        played.ends(turn(output=900), reply, reply.ends)
        refused = played.takes(turn(output=5, session="t"), reply.ends)
        assert refused.status == 429
        assert refused.retry_after > 1

    def test_requests_are_enforced_over_short_spans_too(self):
        played = account(limits=ModelLimits(600, 10_000_000, 1_000_000))
        statuses = [played.takes(turn(session=str(n)), 0.0).status for n in range(12)]
        assert statuses == [200] * 10 + [429] * 2
        assert played.takes(turn(session="later"), 1.0).status == 200

    def test_slots_are_refused_without_a_hint(self):
        played = account(slots=1)
        played.in_flight = 1
        refused = played.takes(turn(), 0.0)
        assert (refused.status, refused.retry_after) == (429, None)

    def test_retry_after_is_whole_seconds_and_a_minute_at_most(self):
        played = account(limits=ModelLimits(600, 60_000, 60))
        played.buckets["m"].output.take(500, 0.0)
        assert played.takes(turn(), 0.0).retry_after == 60.0

    def test_headers_tell_the_limit_what_is_left_and_when_it_is_full(self):
        played = account()
        played.takes(turn(9_400), 0.0)
        told = played.headers("m", 0.0)
        assert (told.requests_limit, told.requests_left) == (600, 599)
        assert (told.input_limit, told.input_left, told.input_reset) == (60_000, 51_000, 10)
        assert told.tokens() == (60_000, 51_000, 10)
        assert account(GEMINI).headers("m", 0.0) is None


class TestWindow:
    def test_a_quota_runs_for_five_hours_from_the_first_use(self):
        quota = Window(1_000)
        quota.take(400, 100.0)
        assert quota.open_in(200.0) == 0
        quota.take(700, 200.0)
        assert quota.open_in(300.0) == pytest.approx(100 + 5 * 3600 - 300)
        assert quota.open_in(100.0 + 5 * 3600) == 0
        quota.take(10, 20_000.0)
        assert quota.open_in(20_001.0) == 0

    def test_the_refusal_names_the_end(self):
        played = account(window=Window(1_000))
        assert played.takes(turn(), 0.0).status == 200
        assert played.takes(turn(session="t"), 60.0).retry_after == 5 * 3600 - 60


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "status"), [(Kind.DOWN, 0), (Kind.HANGING, 0), (Kind.OVERLOADED, 529), (Kind.DEAD_KEY, 401)]
    )
    def test_fails_as_its_kind_says(self, kind, status):
        played = account()
        played.fails(kind, 0.0)
        reply = played.takes(turn(), 0.0)
        assert reply.status == status
        assert (reply.ends == math.inf) is (kind is Kind.HANGING)
        played.fails(None, 1.0)
        assert played.takes(turn(), 1.0).status == 200

    @pytest.mark.parametrize(("kind", "status", "share"), [(Kind.STORM, 529, 0.6), (Kind.BROWN_OUT, 500, 0.3)])
    def test_some_fail_in_part(self, kind, status, share):
        played = account(limits=ModelLimits(10_000_000, 10**10, 10**10))
        played.fails(kind, 0.0)
        failed = sum(played.takes(turn(session=str(n)), 0.0).status == status for n in range(1_000))
        assert failed == pytest.approx(1_000 * share, rel=0.15)

    def test_slow_is_eight_times_as_slow(self):
        well, slow = account(), account()
        slow.fails(Kind.SLOW, 0.0)
        assert slow.takes(turn(), 0.0).ends == pytest.approx(8 * well.takes(turn(), 0.0).ends)

    def test_cut_limits_are_restored(self):
        played = account()
        played.fails(Kind.CUT, 0.0)
        assert played.takes(turn(), 0.0).status == 200
        assert played.takes(turn(session="t"), 0.0).status == 429
        played.fails(None, 0.0)
        assert played.buckets["m"].input.rate == pytest.approx(1_000)

    def test_a_probe_costs_nothing_and_knows_a_dead_key(self):
        played = account()
        assert played.probed()[0] == 200
        played.fails(Kind.DEAD_KEY, 0.0)
        assert played.probed()[0] == 401
        assert played.buckets["m"].requests.left(0.0) == 600
