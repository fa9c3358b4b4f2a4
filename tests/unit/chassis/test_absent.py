"""Modules that are hidden from an import, or put off."""

import importlib
import subprocess
import sys

import pytest

from penstock_chassis.absent import absent, blank, later


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "wanted_by_nobody.py").write_text("answer = 42\n")
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


def test_a_blank_module_has_every_name_until_afterwards(module):
    with blank(module):
        assert importlib.import_module(module).answer is None
        assert not hasattr(importlib.import_module(module), "__path__")
    assert importlib.import_module(module).answer == 42


def test_a_module_that_is_there_already_is_not_blanked(module):
    before = importlib.import_module(module)
    with blank(module):
        assert importlib.import_module(module) is before
    assert sys.modules[module] is before


PUT_OFF = """
import sys
from penstock_chassis.absent import later
later("package.part")
from package import part
print("inner" in sys.modules, part.answer, "inner" in sys.modules, sys.modules["package.part"] is part)
"""


def test_what_is_put_off_is_loaded_when_it_is_asked_for_something(tmp_path):
    (tmp_path / "inner.py").write_text("")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "part.py").write_text("import inner\nanswer = 42\n")
    told = subprocess.run(
        [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{PUT_OFF}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["False", "42", "True", "True"]


def test_what_is_loaded_or_not_installed_is_not_put_off(module):
    before = importlib.import_module(module)
    later(module)
    assert sys.modules[module] is before
    later("there_is_no_such_module")
    assert "there_is_no_such_module" not in sys.modules
