"""What several routers and auths come to."""

from __future__ import annotations

from penstock.auth.v1 import auth_pb2
from penstock.router.v1 import router_pb2
from penstock_operator.sights import Cooldown, Fleet, Sight, Word, account, of_auth, of_router, sessions

NOW = 1_800_000_000.0


def observed(*cooldowns, ready=True, reason="Ready"):
    row = router_pb2.AccountObserved(name="a", ready=ready, reason=reason, cooldowns=cooldowns)
    return router_pb2.Observed(catalog_version="v", accounts=[row], edge_sessions={"e1": "v", "e2": ""})


def cooldown(remaining_ms, *, model="m", cls="Throttled", **more):
    return router_pb2.Cooldown(account="a", model=model, remaining_ms=remaining_ms, **{"class": cls}, **more)


def word(*cooldowns, before=None, now=NOW):
    return of_router(observed(*cooldowns), before, now)


def untils(said):
    return [one.until - NOW for one in said.accounts["a"].cooldowns]


class TestCooldowns:
    def test_have_an_end(self):
        said = word(cooldown(60_000))
        assert said.accounts["a"].cooldowns == (Cooldown("m", "", "Throttled", int(NOW) + 60),)

    def test_of_those_on_their_way_back_nothing_is_said(self):
        assert untils(word(cooldown(0, ramp_percent=20))) == []

    def test_whose_time_is_over_are_none(self):
        """They wait for one request to succeed, which may take long where there are few."""
        before = word(cooldown(60_000))
        assert untils(word(cooldown(0, half_open=True), before=before, now=NOW + 61)) == []

    def test_do_not_move_with_clocks(self):
        said = word(cooldown(60_000))
        for later, remaining in ((1, 59_400), (2, 57_900), (3, 58_900)):
            said = word(cooldown(remaining), before=said, now=NOW + later)
            assert untils(said) == [60]
        assert untils(word(cooldown(70_000), before=said, now=NOW + 4)) == [74]

    def test_have_a_bound(self):
        said = word(*(cooldown(1000, model=f"m{number}") for number in range(1000)))
        assert len(said.accounts["a"].cooldowns) == 256


def fleet(**accounts):
    return Fleet({name: Word("v", {}, {"a": sight} if sight else {}) for name, sight in accounts.items()})


class TestSeveralRouters:
    def test_ready_when_all_say_so(self):
        assert account(fleet(r0=Sight(True, "Ready"), r1=Sight(True, "Ready")), "a").ready
        said = account(fleet(r0=Sight(True, "Ready"), r1=Sight(False, "Cooling", "x")), "a")
        assert (said.ready, said.reason, said.message) == (False, "Cooling", "x")

    def test_who_does_not_know_it_has_no_say(self):
        assert account(fleet(r0=Sight(True, "Ready"), r1=None), "a").ready
        assert account(fleet(r0=None), "a") is None

    def test_it_rests_until_the_last_lets_it_go(self):
        one = Sight(True, "Ready", "", (Cooldown("m", "", "Throttled", 100), Cooldown("n", "", "Throttled", 5)))
        other = Sight(True, "Ready", "", (Cooldown("m", "", "Overloaded", 90),))
        said = account(fleet(r0=one, r1=other), "a")
        assert said.cooldowns == (Cooldown("m", "", "Throttled", 100), Cooldown("n", "", "Throttled", 5))

    def test_one_without_a_catalog_is_not_serving(self):
        told = Fleet({"r0": Word("", {}, {}), "r1": Word("v", {}, {"a": Sight(True, "Ready")})})
        assert set(told.serving) == {"r1"}
        assert account(told, "a").ready


def test_edges_are_known_by_routers_before_auths():
    routers = Fleet({"r0": Word("v2", {"e1": "v2", "e2": ""})})
    auths = Fleet(
        {"a0": of_auth(auth_pb2.Observed(catalog_version="w", edge_sessions={"e1": "v1", "e3": "v1", "e4": ""}))}
    )
    assert sessions(routers, auths) == {"e1": "v2", "e3": "v1"}
