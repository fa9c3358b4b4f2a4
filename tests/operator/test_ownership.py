"""Whose Secrets are whose, and which no account may use."""

import base64

import pytest

from penstock_operator.ownership import is_ours, is_private, labels
from penstock_operator.reading import Reader

ACCOUNT = {
    "apiVersion": "penstock.dev/v1alpha1",
    "kind": "UpstreamAccount",
    "metadata": {"name": "a", "generation": 1},
    "spec": {
        "provider": "OpenAI",
        "auth": {"apiKey": {"secretRef": {"name": "s", "key": "token"}}},
        "models": ["gpt-5.1"],
    },
}


def secret(marks: dict[str, str] | None) -> dict:
    data = {"token": base64.b64encode(b"sk-1").decode()}
    return {"metadata": {"name": "s", "labels": marks}, "data": data}


def test_ours_are_those_of_this_release() -> None:
    assert is_ours(secret(labels("one", "catalog")), "one")
    assert not is_ours(secret(labels("one", "catalog")), "other")
    assert not is_ours(secret(None), "one")
    assert not is_ours({}, "one")


@pytest.mark.parametrize(("component", "private"), [("certificates", True), ("admin-token", True), ("catalog", True), ("api-key", False)])  # fmt: skip
def test_an_account_gets_nothing_out_of_the_processes_own_secrets(component: str, private: bool) -> None:
    for release in ("one", "other"):
        marked = secret(labels(release, component))
        assert is_private(marked) == private
        (_, read) = Reader().read([ACCOUNT], {"s": marked}).resources
        assert read.values == ({} if private else {"token": "sk-1"})


def test_an_account_gets_what_people_put_there() -> None:
    for marks in (None, {}, {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/component": "catalog"}):
        (_, read) = Reader().read([ACCOUNT], {"s": secret(marks)}).resources
        assert read.values == {"token": "sk-1"}
