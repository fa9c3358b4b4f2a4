"""The command line as it is started."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_variable_that_will_not_do_is_named_without_a_traceback():
    told = os.environ | {"PENSTOCK_ADMIN_TOKEN": os.fsdecode(b"sesame\xff")}
    command = [sys.executable, "-m", "penstock_cli.main", "accounts", "list"]
    ended = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "penstock: PENSTOCK_ADMIN_TOKEN will not do (it is not UTF-8)" in ended.stderr
    assert "sesame" not in ended.stderr
    assert "Traceback" not in ended.stderr
