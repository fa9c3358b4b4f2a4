"""Columns stand in the order of fields and of records, also when there are none."""

from __future__ import annotations

from penstock_auth.columns import Sheet
from penstock_auth.pricing import Usage

USAGES = Sheet(Usage)


def test_each_field_is_a_column():
    columns = USAGES.columns([Usage(1, 2, 3, 4, 5), Usage(6, 7)])
    assert list(columns) == list(Usage.__struct_fields__)
    assert list(columns.values()) == [(1, 6), (2, 7), (3, 0), (4, 0), (5, 0)]


def test_no_records_have_empty_columns():
    assert USAGES.columns([]) == dict.fromkeys(Usage.__struct_fields__, ())
