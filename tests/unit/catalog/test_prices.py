"""Price rows: the digest, and which row is in force."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from penstock_catalog.prices import PriceRow, in_force

amounts = st.integers(0, 10**9)
rows = st.builds(PriceRow, **{name: amounts for name in PriceRow.model_fields})


@given(rows)
def test_the_digest_is_of_the_canonical_json(row):
    again = PriceRow.model_validate_json(row.model_dump_json())
    assert again == row
    assert again.digest == row.digest == hashlib.sha256(row.canonical.encode()).hexdigest()[:16]
    assert json.loads(row.canonical) == row.model_dump()
    assert PriceRow(**json.loads(row.canonical)).digest == row.digest


@given(rows, st.sampled_from(sorted(PriceRow.model_fields)), st.integers(1, 1000))
def test_every_field_counts(row, name, more):
    changed = row.model_dump() | {name: getattr(row, name) + more}
    assert PriceRow(**changed).digest != row.digest


def test_the_digest_of_a_known_row_never_changes():
    row = PriceRow(effective_at_ms=0, input=1, output=2, cache_write_5m=3, cache_write_1h=4, cache_read=5)
    expected = (
        '{"cache_read":5,"cache_write_1h":4,"cache_write_5m":3,"effective_at_ms":0,"input":1,"long_context_above":0,'
        '"long_context_cache_read":0,"long_context_cache_write_1h":0,"long_context_cache_write_5m":0,'
        '"long_context_input":0,"long_context_output":0,"output":2}'
    )
    assert row.canonical == expected
    assert row.digest == hashlib.sha256(expected.encode()).hexdigest()[:16]


def test_a_negative_price_is_refused():
    with pytest.raises(ValidationError):
        PriceRow(effective_at_ms=0, input=-1, output=2, cache_write_5m=3, cache_write_1h=4, cache_read=5)


@pytest.mark.parametrize(("at", "expected"), [(0, None), (99, None), (100, 1), (199, 1), (200, 2), (10**12, 2)])
def test_the_row_in_force(at, expected):
    price = {"output": 0, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 0}
    table = [PriceRow(effective_at_ms=100, input=1, **price), PriceRow(effective_at_ms=200, input=2, **price)]
    found = in_force(table, at)
    assert (found.input if found else None) == expected
