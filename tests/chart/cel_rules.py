"""The rules of a structural schema (`x-kubernetes-validations`), run as an API server runs them."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

Json = Any

RULES = "x-kubernetes-validations"
_TYPES = {
    "string": cel.Type.STRING,
    "integer": cel.Type.INT,
    "array": cel.Type.List(cel.Type.DYN),
    "object": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
}


def _find(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    return match[0] if match else ""


# What Kubernetes adds to the language, as far as our rules use it.
_KUBERNETES = cel.CelExtension(
    "kubernetes",
    [
        cel.FunctionDecl(
            "find",
            [
                cel.Overload(
                    "string_find_string",
                    return_type=cel.Type.STRING,
                    parameters=[cel.Type.STRING, cel.Type.STRING],
                    is_member=True,
                    impl=_find,
                )
            ],
        )
    ],
)


@lru_cache
def compiled(rule: str, kind: str) -> cel.Expression:
    """A rule over a value of this JSON type. `RuntimeError` when it is no expression, or its types do not fit."""
    variables = {"self": _TYPES[kind], "oldSelf": _TYPES[kind]}
    environment = cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings(), _KUBERNETES])
    expression = environment.compile(rule)
    assert expression.return_type() == cel.Type.BOOL, rule
    return expression


def rules(schema: Json, path: str = "") -> Iterator[tuple[str, Json, Json]]:
    """Every rule below a schema: its place, its schema and itself."""
    for rule in schema.get(RULES, ()):
        yield path, schema, rule
    for name, below in schema.get("properties", {}).items():
        yield from rules(below, f"{path}.{name}".removeprefix("."))
    if "items" in schema:
        yield from rules(schema["items"], f"{path}[]")


def broken(schema: Json, value: Json, before: Json = None, path: str = "") -> Iterator[str]:
    """What the rules say of a value that fits the schema. `before` is what it replaces."""
    for rule in schema.get(RULES, ()):
        if "oldSelf" in rule["rule"] and before is None:
            continue
        result = compiled(rule["rule"], schema["type"]).eval(data={"self": value, "oldSelf": before})
        if result.value() is not True:
            yield f"{path}{rule.get('fieldPath', '')}: Invalid value: {rule['message']}"
    if isinstance(value, dict):
        older = before if isinstance(before, dict) else {}
        for name, below in schema.get("properties", {}).items():
            if name in value:
                yield from broken(below, value[name], older.get(name), f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from broken(schema["items"], item, None, f"{path}[{index}]")
