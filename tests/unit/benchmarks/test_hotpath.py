"""What measures the edge in process is run by hand: it must not fall behind what it measures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks/hotpath.py"


def test_every_case_comes_through_and_is_told():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--rounds", "1"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^(.+): ([0-9.]+) µs", done.stdout, re.MULTILINE)
    assert [name for name, _ in told] == [
        "unary 1 KB",
        "unary 1 KB, its body after its head",
        "unary 100 KB",
        "unary 100 KB, its body after its head",
        "chunk of a stream",
    ]
    assert all(float(cost) > 0 for _, cost in told)
