"""Modules that are hidden from an import."""

import importlib
import sys

import pytest

from penstock_chassis.absent import absent


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "wanted_by_nobody.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield "wanted_by_nobody"
    sys.modules.pop("wanted_by_nobody", None)


def test_what_is_absent_cannot_be_imported_until_afterwards(module):
    with absent(module), pytest.raises(ImportError):
        importlib.import_module(module)
    importlib.import_module(module)


def test_what_is_there_already_stays(module):
    before = importlib.import_module(module)
    with absent(module):
        assert importlib.import_module(module) is before
    assert sys.modules[module] is before


def test_it_is_there_again_after_a_failure(module):
    with pytest.raises(ZeroDivisionError), absent(module):
        raise ZeroDivisionError
    importlib.import_module(module)
