"""Request ids: ordered by time, never twice."""

from __future__ import annotations

import time
import uuid

import pytest

from penstock_edge import request_id


def test_an_id_is_a_version_7_uuid_with_a_prefix():
    before = time.time_ns() // 1_000_000
    name = request_id.new()
    parsed = uuid.UUID(hex=name.removeprefix("req_"))
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    made = request_id.made_at_ms(name)
    assert before <= made <= time.time_ns() // 1_000_000


def test_ids_differ():
    assert len({request_id.new() for _ in range(10_000)}) == 10_000


def test_the_fields_stand_where_the_standard_says():
    assert f"{request_id.uuid7(0x0123456789AB, 2**80 - 1):032x}" == "0123456789ab7fffbfffffffffffffff"
    assert f"{request_id.uuid7(0, 0):032x}" == "00000000000070008000000000000000"


@pytest.mark.parametrize(
    "text", ["", "req_", "abc", "req_" + "g" * 32, "0123456789ab7fffbfffffffffffffff", "req_" + "0" * 32, "req_x" * 10]
)
def test_other_texts_are_no_ids(text):
    assert request_id.made_at_ms(text) is None
