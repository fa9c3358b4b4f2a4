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


def test_says_that_what_compiles_has_another_python_than_the_base(bare_path, tmp_path):
    (tmp_path / "Python.h").touch()
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/local/bin\nversion = 3.13.5\n")
    (tmp_path / "python3").write_text(f"#!/bin/sh\ncase $2 in *version*) echo 3.9 ;; *) echo {tmp_path} ;; esac\n")
    (tmp_path / "python3").chmod(0o755)
    done = run("deploy/compile.sh", str(tmp_path / "compiled"), path=bare_path)
    assert done.returncode == 1
    assert "the base has Python 3.13, and COMPILER_IMAGE has not" in done.stderr


@pytest.mark.parametrize(
    ("told", "compiler"),
    [
        ({}, "python:3.13@sha256:0123"),
        ({"COMPILER_IMAGE": ""}, ""),
        ({"COMPILED": "0"}, ""),
        ({"BASE_IMAGE": "localhost/base"}, ""),
        ({"BASE_IMAGE": "localhost/base", "COMPILER_IMAGE": "localhost/gcc"}, "localhost/gcc@sha256:0123"),
        ({"COMPILER_IMAGE": "other@sha256:4567"}, "other@sha256:4567"),
    ],
)
def test_compiles_where_gcc_is_unless_told_otherwise(tmp_path, told, compiler):
    builder = tmp_path / "podman"
    builder.write_text(
        f'#!/bin/sh\ncase "$1 $2" in pull*) ;; "image inspect") echo sha256:0123 ;;'
        f' build*) for word; do echo "$word"; done >{tmp_path}/asked; exit 1 ;; esac\n'
    )
    builder.chmod(0o755)
    cleared = {"BASE_IMAGE", "COMPILER_IMAGE", "COMPILED", "BASE_DIGEST"} - set(told)
    environment = {name: value for name, value in os.environ.items() if name not in cleared} | told
    environment |= {"PATH": f"{tmp_path}:{environment['PATH']}", "BUILDER": "podman"}
    done = subprocess.run(["scripts/images.sh"], env=environment, capture_output=True, text=True, check=False)
    assert ("makes a faster edge" in done.stderr) == (not compiler and told.get("COMPILED") != "0")
    assert f"COMPILER_IMAGE={compiler}" in (tmp_path / "asked").read_text().splitlines()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say():
    scripts = ["deploy/compile.sh", "scripts/images.sh", "scripts/debian-base.sh", "scripts/test-dependencies.sh"]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.stdout == ""
