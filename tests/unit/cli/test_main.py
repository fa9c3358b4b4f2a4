"""The command line as it is started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from penstock_cli import start

ROOT = Path(__file__).parents[3]


def test_a_variable_that_will_not_do_is_named_without_a_traceback():
    told = os.environ | {"PENSTOCK_ADMIN_TOKEN": os.fsdecode(b"sesame\xff")}
    command = [sys.executable, "-m", "penstock_cli.main", "accounts", "list"]
    ended = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "penstock: PENSTOCK_ADMIN_TOKEN will not do (it is not UTF-8)" in ended.stderr
    assert "sesame" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("module", ["penstock_chassis.settings", "penstock_cli.commands.usage"])
def test_ctrl_c_while_modules_are_read_in_shows_no_traceback(tmp_path, module):
    pressed = (
        "import importlib.abc, os, signal, sys\n"
        "class Presses(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Presses())\n"
        "from penstock_cli.start import main\n"
        "main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", pressed], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr == ""


def test_ctrl_c_before_a_command_has_begun_shows_no_traceback(monkeypatch):
    def pressed():
        raise KeyboardInterrupt

    monkeypatch.setattr("penstock_cli.main.main", pressed)
    with pytest.raises(SystemExit) as ended:
        start.main()
    assert ended.value.code == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_command_begins_there():
    project = tomllib.loads((ROOT / "services/cli/pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"penstock": "penstock_cli.start:main"}
