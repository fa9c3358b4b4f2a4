"""The policy chains, as tables: facts in, conditions out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock_operator.conditions import false, true, unknown
from penstock_operator.credentials import Proof
from penstock_operator.sights import Sight
from penstock_operator.verdicts import (
    AccountFacts,
    Failure,
    KeyFacts,
    ModelFacts,
    PlanFacts,
    account,
    key,
    model,
    plan,
    unreadable,
)

LOADED = true("Programmed")
PENDING = false("Programmed", "Pending", "not every router has loaded it yet")
NOBODY = unknown("Programmed", "NoRouter", "no router says what it has loaded")
GOOD = AccountFacts(
    failure=None, mode="Active", programmed=LOADED, sight=Sight(True, "Ready"), has_credential=True,
    held_back=False, in_force="abc", proof=Proof("Ok", 200), carried=None,
)  # fmt: skip


def said(conditions):
    return {one.type: (one.status, one.reason) for one in conditions}


class TestAccounts:
    def test_all_is_well(self):
        assert said(account(GOOD)) == {
            "Accepted": ("True", "Accepted"),
            "ResolvedRefs": ("True", "ResolvedRefs"),
            "Programmed": ("True", "Programmed"),
            "Reachable": ("True", "Reachable"),
            "Ready": ("True", "Ready"),
        }

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"sight": Sight(False, "Cooling", "x")}, {"Ready": ("False", "Cooling")}),
            ({"sight": Sight(False, "Draining", "")}, {"Ready": ("False", "Draining")}),
            ({"sight": Sight(False, "QuotaExhausted", "x")}, {"Ready": ("False", "QuotaExhausted")}),
            ({"programmed": NOBODY}, {"Ready": ("Unknown", "NoRouter")}),
            ({"programmed": PENDING, "sight": None}, {"Ready": ("Unknown", "Pending")}),
            # A change that is on its way takes nobody out.
            ({"programmed": PENDING}, {"Ready": ("True", "Ready"), "Programmed": ("False", "Pending")}),
            ({"proof": None}, {"Reachable": ("Unknown", "NotTried"), "Ready": ("True", "Ready")}),
            ({"proof": Proof("Unknown")}, {"Reachable": ("Unknown", "CannotProbe")}),
            ({"proof": Proof("NoRouter")}, {"Reachable": ("Unknown", "NoRouter")}),
            ({"proof": Proof("Failed", 0)}, {"Reachable": ("False", "ProbeFailed"), "Ready": ("True", "Ready")}),
            ({"proof": Proof("Refused", 401)}, {"Reachable": ("False", "AuthRejected")}),
            ({"proof": Proof("Refused", 401), "held_back": True}, {"Reachable": ("False", "AuthRejected"), "Ready": ("True", "Ready")}),
            ({"sight": Sight(False, "CredentialInvalid", "x")}, {"Reachable": ("False", "AuthRejected"), "Ready": ("False", "CredentialInvalid")}),
            ({"proof": None, "carried": true("Reachable")}, {"Reachable": ("True", "Reachable")}),
            ({"mode": "Disabled", "proof": None}, {"Reachable": ("Unknown", "NotTried")}),
            (
                {"failure": Failure("Accepted", "AddressNotAllowed", "private")},
                {"Accepted": ("False", "AddressNotAllowed"), "Ready": ("False", "AddressNotAllowed"), "ResolvedRefs": ("Unknown", "NotAccepted")},
            ),
            (
                {"failure": Failure("ResolvedRefs", "SecretNotFound", "x"), "has_credential": False, "proof": None},
                {"ResolvedRefs": ("False", "SecretNotFound"), "Ready": ("False", "SecretNotFound"), "Reachable": ("Unknown", "NotTried")},
            ),
            (
                {"failure": Failure("Ready", "NoModels", "x")},
                {"Accepted": ("True", "Accepted"), "Ready": ("False", "NoModels"), "Reachable": ("Unknown", "NotTried")},
            ),
        ],
    )  # fmt: skip
    def test_what_can_be_wrong(self, changes, expected):
        verdict = said(account(replace(GOOD, **changes)))
        assert {kind: verdict[kind] for kind in expected} == expected
        assert len(verdict) == 5

    def test_it_is_said_which_credential_stays(self):
        verdict = account(replace(GOOD, proof=Proof("Refused", 403), held_back=True))
        message = next(one.message for one in verdict if one.type == "Reachable")
        assert "403" in message
        assert "abc" in message


class TestModels:
    GOOD = ModelFacts(failure=None, programmed=LOADED, routers=True, ready_accounts=1, total_accounts=2)

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, {"Ready": ("True", "Ready"), "ResolvedRefs": ("True", "ResolvedRefs")}),
            ({"ready_accounts": 0}, {"Ready": ("False", "NoReadyAccount")}),
            ({"ready_accounts": 0, "total_accounts": 0}, {"Ready": ("False", "NoReadyAccount")}),
            ({"routers": False, "programmed": NOBODY}, {"Ready": ("Unknown", "NoRouter")}),
            ({"failure": Failure("ResolvedRefs", "ModelNotFound", "x")}, {"ResolvedRefs": ("False", "ModelNotFound"), "Ready": ("True", "Ready")}),
            ({"failure": Failure("Accepted", "NameConflict", "x")}, {"Accepted": ("False", "NameConflict"), "Ready": ("False", "NameConflict")}),
        ],
    )  # fmt: skip
    def test_what_can_be(self, changes, expected):
        verdict = said(model(replace(self.GOOD, **changes)))
        assert {kind: verdict[kind] for kind in expected} == expected


class TestPlans:
    def test_ready_as_soon_as_loaded(self):
        assert said(plan(PlanFacts(None, LOADED)))["Ready"] == ("True", "Ready")
        assert said(plan(PlanFacts(None, PENDING)))["Ready"] == ("Unknown", "Pending")


class TestKeys:
    GOOD = KeyFacts(failure=None, fault=None, issued=True, notice="", mode="Active", expired=False, programmed=LOADED)

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, {"Ready": ("True", "Ready"), "Issued": ("True", "Issued"), "ResolvedRefs": ("True", "ResolvedRefs")}),
            ({"failure": Failure("ResolvedRefs", "PlanNotFound", "x")}, {"ResolvedRefs": ("False", "PlanNotFound"), "Ready": ("False", "PlanNotFound"), "Issued": ("True", "Issued")}),
            ({"issued": False, "fault": Failure("ResolvedRefs", "SecretConflict", "x")}, {"ResolvedRefs": ("False", "SecretConflict"), "Issued": ("False", "SecretConflict"), "Ready": ("False", "SecretConflict")}),
            # It works on from the Secret that it had.
            ({"fault": Failure("ResolvedRefs", "SecretConflict", "x")}, {"ResolvedRefs": ("False", "SecretConflict"), "Issued": ("True", "Issued"), "Ready": ("True", "Ready")}),
            ({"issued": False}, {"Issued": ("Unknown", "Pending"), "Ready": ("Unknown", "Pending")}),
            ({"issued": False, "fault": Failure("Issued", "NotWritten", "x")}, {"Issued": ("False", "NotWritten"), "ResolvedRefs": ("True", "ResolvedRefs")}),
            ({"mode": "Revoked"}, {"Ready": ("False", "Revoked"), "Programmed": ("True", "Programmed")}),
            ({"expired": True}, {"Ready": ("False", "Expired")}),
            ({"programmed": PENDING}, {"Ready": ("Unknown", "Pending")}),
        ],
    )  # fmt: skip
    def test_what_can_be(self, changes, expected):
        verdict = said(key(replace(self.GOOD, **changes)))
        assert {kind: verdict[kind] for kind in expected} == expected

    def test_a_notice_is_told_beside_a_key_that_works(self):
        verdict = key(replace(self.GOOD, notice="not rotated: ..."))
        assert next(one.message for one in verdict if one.type == "Issued") == "not rotated: ..."


@pytest.mark.parametrize(("kind", "aspects"), [("UpstreamAccount", 5), ("Model", 4), ("Plan", 3), ("APIKey", 5)])
def test_what_cannot_be_understood_is_not_accepted(kind, aspects):
    verdict = unreadable(kind, "spec.provider must be one of ...")
    assert (verdict[0].status, verdict[0].reason) == ("False", "InvalidSpec")
    assert verdict[-1] == false("Ready", "InvalidSpec", "spec.provider must be one of ...")
    assert len(verdict) == aspects
    assert all(one.status == "Unknown" for one in verdict[1:-1])
