"""What the image's scripts say where something is missing."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

NEEDED = ("bash", "sh", "dirname", "sed", "env")


@pytest.fixture
def bare_path(tmp_path):
    """A PATH with a shell and little else."""
    for program in NEEDED:
        (tmp_path / program).symlink_to(shutil.which(program))
    return str(tmp_path)


def run(script: str, *words: str, path: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": path} | more
    environment.pop("BUILDER", None)
    return subprocess.run([script, *words], env=environment | more, capture_output=True, text=True, check=False)


def test_says_what_builds_images_where_nothing_does(bare_path):
    done = run("scripts/images.sh", path=bare_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "apt-get install --no-install-recommends podman" in done.stderr


def test_says_that_the_builder_asked_for_is_not_there():
    done = run("scripts/images.sh", path=os.environ["PATH"], BUILDER="no-such-builder")
    assert done.returncode == 1
    assert "no-such-builder" in done.stderr


def test_says_what_a_base_is_made_with(bare_path, tmp_path):
    done = run("scripts/debian-base.sh", "localhost/none", str(tmp_path / "none.tar"), path=bare_path)
    assert done.returncode == 1
    assert "apt-get install --no-install-recommends mmdebstrap podman" in done.stderr


def test_says_what_to_do_where_nothing_can_be_compiled(bare_path, tmp_path):
    (tmp_path / "python3").write_text("#!/bin/sh\necho /nowhere\n")
    (tmp_path / "python3").chmod(0o755)
    done = run("deploy/compile.sh", str(tmp_path / "compiled"), path=bare_path)
    assert done.returncode == 1
    assert "no /nowhere/Python.h" in done.stderr
    assert "COMPILED=0" in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say():
    scripts = ["deploy/compile.sh", "scripts/images.sh", "scripts/debian-base.sh", "scripts/test-dependencies.sh"]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.stdout == ""
