"""What compiled modules must not do, though their sources run: mypyc says nothing of it."""

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


def tuples(tree: ast.Module) -> set[str]:
    """The names of a module's constants that are tuples."""
    assigned = [node for node in tree.body if isinstance(node, ast.AnnAssign | ast.Assign)]
    return {
        target.id
        for node in assigned
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Tuple)
    }


def likened(tree: ast.Module) -> set[str]:
    """The names that a module asks about with `is`."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    return {
        side.id
        for node in found
        if isinstance(node.ops[0], ast.Is | ast.IsNot)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Name)
    }


def test_no_compiled_module_asks_whether_a_tuple_is_another() -> None:
    """A tuple of known types is no object there: each time that it is made one, it is a new one."""
    trees = [
        ast.parse((package / f"{name}.py").read_text())
        for package in compiled.PACKAGES
        for name in compiled.HOT[package.name].split()
    ]
    constants = set().union(*map(tuples, trees))
    assert constants
    assert set().union(*map(likened, trees)) & constants == set()
