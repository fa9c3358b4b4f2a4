"""No class of the sources inherits from a compiled one: mypyc's classes refuse when one is made, and not before."""

from __future__ import annotations

import ast

from scripts import compiled


def hot() -> set[str]:
    return {f"{package}.{name.replace('/', '.')}" for package, names in compiled.HOT.items() for name in names.split()}


def inherited(tree: ast.Module) -> set[tuple[str, str]]:
    """What classes of a module inherit from, by the modules that they are imported from: (module, class)."""
    whence = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    bases = [base for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases]
    return {whence[base.id] for base in bases if isinstance(base, ast.Name) and base.id in whence}


def test_no_interpreted_class_inherits_from_a_compiled_one() -> None:
    wrong = []
    for package in compiled.PACKAGES:
        for path in package.rglob("*.py"):
            name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
            found = inherited(ast.parse(path.read_text())) if name not in hot() else ()
            wrong += [f"{name}: {module}.{base}" for module, base in found if module in hot()]
    assert wrong == []
