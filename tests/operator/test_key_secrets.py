"""What is read from the Secrets of declared keys, and how they are found."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator import key_secrets
from penstock_operator.key_secrets import KeySecrets
from tests.operator.api_key_world import World

LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True))
def test_every_name_makes_a_label(name):
    made = key_secrets.label(name)
    assert LABEL.fullmatch(made)
    assert (made == name) == (len(name) <= 63)


def test_long_names_that_differ_late_make_labels_that_differ():
    assert key_secrets.label("a" * 100 + "x") != key_secrets.label("a" * 100 + "y")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T14:00:00+02:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00", None),
        ("", None),
        ("soon", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59.5Z", None),
        ("9999-12-31T23:59:59-12:00", None),
    ],
)
def test_times(text, expected):
    assert key_secrets.moment_of(text) == expected
    if expected is not None:
        assert key_secrets.time_text(expected) == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        ("penstock-ca", True),
        ("penstock-admin", True),
        ("penstock-edge-tls", True),
        ("penstock-auth-catalog-head", True),
        ("penstock-router-catalog-07", True),
        ("penstock-ci", False),
        ("penstock-ca-2", False),
        ("other-ca", False),
        ("ca", False),
    ],
)
def test_names_of_penstocks_own_secrets_are_reserved(name, reserved):
    assert key_secrets.is_reserved(name, "penstock") == reserved


def test_secrets_are_found_by_name_and_by_owner():
    world = World()
    world.settle()
    world.put("other", {})
    mine = world.secrets["ci-key"]
    known = KeySecrets(world.secrets.values())
    target, others = known.of(world.holder)
    assert (target.name, others) == ("ci-key", ())
    known.drop("ci-key")
    known.drop("never-was")
    assert known.of(world.holder) == (None, ())
    known.take(mine)
    world.resource["spec"]["secretName"] = "new"
    target, others = known.of(world.holder)
    assert (target, [each.name for each in others]) == (None, ["ci-key"])
    known.take({"metadata": {"name": "ci-key"}})
    assert known.of(world.holder) == (None, ())


def test_objects_without_much_in_them_are_read():
    held = key_secrets.read({"metadata": {"name": "x", "ownerReferences": ["odd", {}], "annotations": None}})
    assert (held.key, held.previous, held.text, held.owners) == (None, None, "", ({},))
    assert key_secrets.owners_of({}) == set()


def test_a_text_shows_in_no_repr():
    world = World()
    world.settle()
    held = key_secrets.read(world.secrets["ci-key"])
    assert world.text("ci-key") == held.text
    assert held.text[-38:] not in repr(held)


def test_only_a_key_is_written_down():
    world = World()
    with pytest.raises(ValueError, match="only a key"):
        key_secrets.new_secret(world.holder, "r", "no key", world.now, None, "")
