"""The chart's alerts as Prometheus would load them for one gateway, without Helm."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "charts" / "penstock" / "files" / "alerts"
RUNBOOKS = ROOT / "docs" / "runbooks"
# What Prometheus and its operator give every series, so that no metric may have it.
TARGET_LABELS = frozenset(
    {"gateway", "component", "pod", "namespace", "instance", "job", "service", "container", "node"}
)
# What the language has, so that what is left of a query are metrics and labels.
_WORDS = frozenset(
    [
        "sum",
        "count",
        "min",
        "max",
        "avg",
        "by",
        "without",
        "and",
        "or",
        "unless",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "rate",
        "increase",
        "changes",
        "absent",
        "histogram_quantile",
        "vector",
        "bool",
        "offset",
        "le",
    ]
)
_NAME = re.compile(r"(?<![\w.])[a-zA-Z_:][a-zA-Z0-9_:]*")


def groups(gateway: str) -> list[dict[str, Any]]:
    """All groups of rules."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        found += yaml.safe_load(path.read_text().replace("GATEWAY", gateway))["groups"]
    return found


def alerts(gateway: str = "G") -> dict[str, dict[str, Any]]:
    """Each alert's rule by its name."""
    return {rule["alert"]: rule for group in groups(gateway) for rule in group["rules"] if "alert" in rule}


def recorded() -> frozenset[str]:
    """The series that the rules make."""
    return frozenset(rule["record"] for group in groups("G") for rule in group["rules"] if "record" in rule)


def metrics_in(query: str) -> set[str]:
    """The names of the metrics in a query: what is left without labels, durations and words of the language."""
    bare = re.sub(r'"[^"]*"', "", query)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    return {name for name in _NAME.findall(bare) if name not in _WORDS}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool and return what it said; failing is the caller's to judge."""
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
