"""Request ids: ordered by time, never twice."""

from __future__ import annotations

import random
import subprocess
import sys
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
    assert request_id.tails(2 ** (64 * 80) - 1) == "7fffbfffffffffffffff" * 64
    assert request_id.tails(0) == "70008000000000000000" * 64
    assert request_id.tails(1)[-20:] == "70008000000000000001"


def test_a_name_ends_with_noise_that_no_other_has(monkeypatch):
    monkeypatch.setattr(request_id.random, "getrandbits", lambda bits: 2**bits - 1)
    monkeypatch.setattr(request_id.time, "time_ns", lambda: 0x0123456789AB * 1_000_000 + 999_999)
    names = request_id._Names()
    assert names.new() == "req_0123456789ab7fffbfffffffffffffff"
    drawn = random.getrandbits(64 * 80)
    monkeypatch.setattr(request_id.random, "getrandbits", lambda _: drawn)
    names.forget()
    assert "".join(names.new()[-20:] for _ in range(64)) == request_id.tails(drawn)


FORKING = """
import os
from penstock_edge import request_id
request_id.new()
child = os.fork()
if child:
    os.waitpid(child, 0)
os.write(1, request_id.new()[-20:].encode() + b" ")
os._exit(0)
"""


def test_a_forked_process_makes_names_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True)
    assert len(set(done.stdout.split())) == 2


@pytest.mark.parametrize(
    "text", ["", "req_", "abc", "req_" + "g" * 32, "0123456789ab7fffbfffffffffffffff", "req_" + "0" * 32, "req_x" * 10]
)
def test_other_texts_are_no_ids(text):
    assert request_id.made_at_ms(text) is None
