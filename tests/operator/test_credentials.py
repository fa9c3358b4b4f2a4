"""A credential that works is not given up for one that may not."""

from __future__ import annotations

import pytest

from penstock_catalog.documents import Account
from penstock_operator.credentials import Proof, choose

OLD = Account(
    name="a",
    provider="Anthropic",
    base_url="https://one.example",
    api_key="old",
    credential_hash="h-old",
    models=("m",),
)
NEW = OLD.model_copy(update={"api_key": "new", "credential_hash": "h-new", "weight": 7, "generation": 2})


def chosen(wanted, in_force, result=None, *, dead=False):
    proof = Proof(result) if result else None
    choice = choose(wanted, in_force, proof, in_force_dead=dead)
    assert choice.account.weight == wanted.weight  # All but the credential is as the spec wants it, at once.
    return choice.account.api_key, choice.held_back


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, ("old", True)),
        ("Ok", ("new", False)),
        ("Unknown", ("new", False)),
        ("Refused", ("old", True)),
        ("Failed", ("old", True)),
        ("NoRouter", ("old", True)),
    ],
)
def test_a_changed_one_has_to_be_proven(result, expected):
    assert chosen(NEW, OLD, result) == expected


@pytest.mark.parametrize("result", [None, "Refused", "Failed", "NoRouter"])
@pytest.mark.parametrize(
    ("wanted", "in_force"),
    [
        (NEW, None),
        (NEW, OLD.model_copy(update={"api_key": ""})),
        (NEW.model_copy(update={"mode": "Disabled"}), OLD),
        (NEW.model_copy(update={"not_served": "NoModels"}), OLD),
        # The other endpoint must never see the old credential.
        (NEW.model_copy(update={"base_url": "https://two.example"}), OLD),
        (NEW.model_copy(update={"provider": "OpenAI"}), OLD),
    ],
)
def test_there_are_times_when_there_is_nothing_to_keep(wanted, in_force, result):
    assert chosen(wanted, in_force, result) == ("new", False)


def test_a_dead_one_is_given_up_for_any():
    assert chosen(NEW, OLD, "Refused", dead=True) == ("new", False)


def test_a_secret_that_is_gone_takes_the_credential_with_it():
    gone = OLD.model_copy(update={"api_key": "", "credential_hash": "", "not_served": "SecretNotFound"})
    assert chosen(gone, OLD) == ("", False)


def test_no_representation_shows_a_credential():
    assert "old" not in repr(choose(NEW, OLD, None, in_force_dead=False)).replace("h-old", "")
