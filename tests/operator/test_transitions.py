"""What is news to a person, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from penstock_operator.conditions import false, true, unknown, written
from penstock_operator.transitions import events

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def status(*conditions, **facts):
    return {"conditions": written({}, conditions, 1, NOW), **facts}


def told(before, after):
    return [(event.type, event.reason) for event in events(before, after)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, status(true("Ready")), [("Normal", "Ready")]),
        ({}, status(unknown("Ready", "Pending", "")), []),
        (status(true("Ready")), status(true("Ready", "5 of 6 models")), []),
        (status(true("Ready")), status(unknown("Ready", "NoRouter", "")), []),
        (status(true("Ready")), status(false("Ready", "Cooling", "")), [("Warning", "Cooling")]),
        (status(false("Ready", "Cooling", "")), status(false("Ready", "Cooling", "longer")), []),
        (status(false("Ready", "Cooling", "")), status(false("Ready", "QuotaExhausted", "")), [("Warning", "QuotaExhausted")]),
        (status(true("Ready")), status(false("Ready", "Draining", "")), [("Normal", "Draining")]),
        (status(true("Ready")), status(false("Ready", "Revoked", "")), [("Normal", "Revoked")]),
        (
            {},
            status(false("Accepted", "InvalidSpec", "x"), false("Ready", "InvalidSpec", "x")),
            [("Warning", "InvalidSpec")],
        ),
        (
            status(true("Reachable"), true("Ready")),
            status(false("Reachable", "AuthRejected", "x"), true("Ready")),
            [("Warning", "AuthRejected")],
        ),
        (status(credentialHash="a"), status(credentialHash="b"), [("Normal", "CredentialRotated")]),
        (status(), status(credentialHash="b"), []),
    ],
)  # fmt: skip
def test_what_is_told(before, after, expected):
    assert told(before, after) == expected
    assert told(after, after) == []
