"""The key: where it may stand, in which order, and what is no key at all."""

from __future__ import annotations

import pytest

from penstock_catalog import api_key
from penstock_edge.credentials import find_key, key_digest
from penstock_edge.errors import ProblemError


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([(b"x-api-key", b"k")], b"k"),
        ([(b"authorization", b"Bearer k")], b"k"),
        ([(b"authorization", b"bearer  k ")], b"k"),
        ([(b"x-goog-api-key", b"k")], b"k"),
        ([(b"authorization", b"Bearer other"), (b"x-goog-api-key", b"third"), (b"x-api-key", b"k")], b"k"),
        ([(b"x-goog-api-key", b"other"), (b"authorization", b"Bearer k")], b"k"),
        ([(b"x-api-key", b"k ")], b"k"),
        ([(b"x-api-key", b" "), (b"x-goog-api-key", b" k\t")], b"k"),
        ([(b"x-api-key", b""), (b"authorization", b"Bearer k")], b"k"),
        ([(b"authorization", b"Basic k")], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"cookie", b"k")], None),
        ([], None),
    ],
)
def test_where_the_key_stands(headers, key):
    assert find_key(headers) == key


def test_the_digest_of_a_good_key(play):
    assert key_digest([(b"x-api-key", play.key.encode())], lambda _: None) == api_key.digest(play.key)


def test_the_digest_of_a_text_that_is_no_ascii():
    text = "psk_\xff\xe4"
    assert key_digest([(b"x-api-key", text.encode("latin-1"))], lambda _: "known") == api_key.digest(text)


@pytest.mark.parametrize(
    "change", [lambda k: k[:-1] + ("a" if k[-1] != "a" else "b"), lambda k: "sk-ant-x", lambda k: k + "\xff"]
)
def test_a_mistyped_key_never_leaves_the_edge(play, change):
    text = change(play.key).encode("latin-1")
    with pytest.raises(ProblemError) as error:
        key_digest([(b"x-api-key", text)], lambda _: None)
    assert error.value.problem.status == 401
    assert not error.value.problem.should_retry
    assert play.key not in error.value.problem.message


def test_no_key_at_all():
    with pytest.raises(ProblemError) as error:
        key_digest([], lambda _: None)
    assert (error.value.problem.status, error.value.problem.kind) == (401, "authentication_error")
