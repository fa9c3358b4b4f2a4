"""What is printed, wherever it goes."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from penstock_cli import output
from penstock_cli.commands.session import exit_codes
from penstock_cli.output import Output

NAMES = (output.field("NAME", "name"), output.field("NOTE", "note"))


def test_names_cannot_steer_the_terminal(capsys):
    row = {"name": "a\x1b[2J\x1b]0;title\x07", "note": "one\ntwo\u202e"}
    output.show_list([row], NAMES, Output.TABLE)
    assert capsys.readouterr().out.splitlines()[1].split() == [r"a\x1b[2J\x1b]0;title\x07", r"one\ntwo\u202e"]
    output.show_one(row, NAMES, Output.TABLE)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [r"name  a\x1b[2J\x1b]0;title\x07", "note  one", r"      two\u202e"]


def test_no_row_is_folded_in_a_pipe(capsys):
    row = {"name": "all", "note": "model " * 2000 + "end"}
    output.show_list([row], NAMES, Output.TABLE)
    output.show_one(row, NAMES, Output.TABLE)
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["NOTE", "end", "all", "end"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "UTF8"])
def test_a_locale_that_knows_few_letters_loses_nothing(monkeypatch, encoding):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    output.print_anything()
    output.show_json({"name": "ключ é"})
    assert json.loads(written.getvalue().decode(encoding)) == {"name": "ключ é"}
    output.show_list([{"name": "ключ", "note": "é"}], NAMES, Output.TABLE)
    assert b"NOTE" in written.getvalue()


def test_what_the_machine_refuses_is_told_in_a_line(capsys):
    with pytest.raises(typer.Exit) as ended, exit_codes():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/file")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "penstock: No space left on device (run/file)\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_under_stdout_is_exit_code_1():
    command = [sys.executable, "-m", "penstock_cli.main", "setup-client", "env", "--url", "http://h", "--key", "k"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "penstock: No space left on device\n")
