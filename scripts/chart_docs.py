"""Write the chart's README.md and values.schema.json from values.yaml and the settings; `--check` only compares."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))
from chart_rules import RULES, clauses
from chart_settings import CLASSES, settings

CHART = Path(__file__).parents[1] / "charts" / "penstock"
_KEY = re.compile(r"( *)([A-Za-z][A-Za-z0-9]*):(?: .*|$)")
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_SUMMARY = 60


@dataclass
class Value:
    """One documented value, or a map of them."""

    path: tuple[str, ...]
    meaning: str
    more: dict[str, Any]
    default: Any
    children: dict[str, Value] = field(default_factory=dict)

    def all(self) -> list[Value]:
        """List this value and all below it."""
        return [self, *(below for child in self.children.values() for below in child.all())]


class DocumentError(Exception):
    """values.yaml is not written as this program reads it."""


def read(text: str) -> dict[str, Value]:
    """Read values.yaml. Every key has a comment that begins with its name, unless Kubernetes defines what is there."""
    root = Value((), "", {}, yaml.safe_load(text))
    stack = [(-1, root)]
    comment: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
            continue
        match = _KEY.fullmatch(line)
        if match is None:
            comment = []
            continue
        while stack[-1][0] >= len(match[1]):
            stack.pop()
        above = stack[-1][1]
        if above.more.keys() & {"$ref", "additionalProperties", "items"}:
            continue
        value = _value(number, above, match[2], comment)
        comment = []
        above.children[match[2]] = value
        stack.append((len(match[1]), value))
    return root.children


def _value(number: int, above: Value, name: str, comment: list[str]) -> Value:
    path = (*above.path, name)
    said = [line for line in comment if line and not line.startswith("@schema")]
    begun = next((index for index, line in enumerate(said) if line.startswith(f"{name}: ")), None)
    if begun is None:
        raise DocumentError(f"values.yaml:{number}: {'.'.join(path)} needs a comment that begins with its name")
    more: dict[str, Any] = {}
    for line in comment:
        if line.startswith("@schema"):
            more |= json.loads(line.removeprefix("@schema"))
    meaning = " ".join(said[begun:]).removeprefix(f"{name}: ")
    return Value(path, meaning, more, above.default[name])


def schema_of(value: Value) -> dict[str, Any]:
    """Return the schema of one value."""
    if "$ref" in value.more:
        return value.more  # Words beside a reference are not looked at.
    schema: dict[str, Any] = {"type": _TYPES[type(value.default)], "description": value.meaning} | value.more
    if value.children:
        schema |= _object(value.children)
    elif schema["type"] == "object" and "additionalProperties" not in schema:
        raise DocumentError(f"{'.'.join(value.path)}: say with @schema what may be in it")
    return schema


def _object(children: dict[str, Value]) -> dict[str, Any]:
    return {
        "properties": {name: schema_of(child) for name, child in children.items()},
        "required": [name for name, child in children.items() if not _may_be_null(child)],
        "additionalProperties": False,
    }


def _may_be_null(value: Value) -> bool:
    """Whether people may take a value away, which is what null does."""
    return "null" in value.more.get("type", ()) or value.more.get("$ref") == "#/definitions/resources"


def schema(values: dict[str, Value]) -> dict[str, Any]:
    """Return the schema of all values."""
    text = {"type": "object", "additionalProperties": {"type": "string"}}
    source = {
        "type": "object",
        "properties": {"valueFrom": {"type": "object"}},
        "required": ["valueFrom"],
        "additionalProperties": False,
    }
    quantities = {"type": "object", "additionalProperties": {"type": ["string", "integer", "number"]}}
    content = _object(values)
    content["properties"]["global"] = {"type": "object", "description": "What Helm gives to charts within charts."}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the Penstock chart",
        "type": "object",
        **content,
        "allOf": clauses(),
        "definitions": {
            "strings": text,
            "environment": {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, source]}},
            "resources": {
                "type": "object",
                "properties": {"requests": quantities, "limits": quantities, "claims": {"type": "array"}},
                "additionalProperties": False,
            },
            **{f"{component}Settings": _settings_schema(component) for component in CLASSES},
        },
    }


def _settings_schema(component: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            one.name: one.schema | ({"description": one.meaning} if one.meaning else {}) for one in settings(component)
        },
        "additionalProperties": False,
    }


def page(values: dict[str, Value]) -> str:
    """Return the README."""
    lines = [_HEAD]
    for value in values.values():
        lines += ["", f"### {value.path[0]}", ""]
        lines += [value.meaning, ""] if value.children else []
        lines += ["| value | default | meaning |", "|---|---|---|"]
        lines += [
            f"| `{'.'.join(below.path)}` | {_shown(below.default)} | {_cell(below.meaning)} |"
            for below in value.all()
            if not below.children
        ]
    lines += ["", "## Settings", "", _SETTINGS]
    for component, kind in CLASSES.items():
        lines += ["", f"### {component}.settings", "", _cell(first_line(kind)), ""]
        lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{one.name}` | {one.schema.get('type', '')} | {_code(one.default)} | {_cell(one.meaning)} |"
            for one in settings(component)
        ]
    lines += ["", "## What is refused", "", _REFUSED, "", *(f"- {words}" for words in RULES)]
    return "\n".join(lines) + "\n"


def first_line(kind: type) -> str:
    """Return the first line of a class's description."""
    return (kind.__doc__ or "").strip().splitlines()[0]


def _shown(default: Any) -> str:
    text = json.dumps(default)
    return f"`{text}`" if len(text) <= _SUMMARY else "see values.yaml"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_HEAD = """# The Penstock chart

Made from values.yaml by `scripts/chart_docs.py`; do not edit.
[docs/install.md](../../docs/install.md) tells how to install, upgrade and remove a release.

```sh
helm install penstock charts/penstock --namespace penstock --create-namespace
```

The defaults are the small profile: two edges, one of everything else, SQLite on a volume, no Redis and no PostgreSQL.
Kubernetes 1.28 or newer.

## Values"""

_SETTINGS = """`<component>.settings` holds what a process is told, by the names of its settings class.
What the chart decides itself from other values is not among them. Durations are in seconds."""

_REFUSED = """Unknown values are refused, and these combinations, with the words of what is required instead:"""


def main() -> int:
    """Write, or compare."""
    values = read((CHART / "values.yaml").read_text())
    made = {"values.schema.json": json.dumps(schema(values), indent=1) + "\n", "README.md": page(values)}
    stale = [name for name, text in made.items() if not (CHART / name).exists() or (CHART / name).read_text() != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"charts/penstock/{name} differs from values.yaml: run scripts/chart_docs.py and commit the result")
        return 1 if stale else 0
    for name in stale:
        (CHART / name).write_text(made[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
