"""Signatures are known again, and nothing else is taken for one."""

import base64

from hypothesis import assume, given
from hypothesis import strategies as st

from penstock_simulator.gemini.proto import unbase64
from penstock_simulator.gemini.signature import DUMMIES, issue, known

seeds = st.integers(0, 2**64 - 1)


@given(seeds, st.integers(0, 9))
def test_issued_ones_are_known(seed, index):
    text = issue(seed, index)
    assert known(base64.b64decode(text, validate=True))
    assert text.endswith("=")
    assert issue(seed, index) == text != issue(seed + 1, index)


@given(seeds, st.integers(0, 49), st.integers(0, 7))
def test_one_changed_bit_is_noticed(seed, at, bit):
    data = bytearray(base64.b64decode(issue(seed, 0)))
    data[at] ^= 1 << bit
    assert not known(bytes(data))


@given(st.binary(max_size=80))
def test_others_are_not_known(data):
    assume(data not in DUMMIES)
    assert not known(data)


def test_documented_dummies_pass_as_text_and_as_bytes():
    for dummy in DUMMIES:
        assert known(unbase64(dummy.decode()))
        assert known(base64.b64decode(base64.b64encode(dummy)))
