"""No policy can see the models of accounts and clients: neither by import, nor through what it is handed."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest
from benchmarks.routing import sight
from benchmarks.routing.policies.others import LeastBusy, LowestLatency, RoundRobin, Shuffle, StickyHash
from benchmarks.routing.policies.ours import Ours

FOLDER = Path(sight.__file__).parent / "policies"
ALLOWED = ("benchmarks.routing.policies", "benchmarks.routing.sight")
PLAIN = {"str", "int", "float", "bool", "tuple[str, ...]", "float | None", "Headers | None"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", [*sorted(FOLDER.glob("*.py")), Path(sight.__file__)], ids=lambda path: path.name)
def test_policies_import_nothing_of_the_world(path):
    named = imports(path)
    assert all(name.startswith(ALLOWED) for name in named if name.startswith("benchmarks"))
    assert not {name.partition(".")[0] for name in named} & {"importlib", "sys", "gc", "inspect", "time"}


@pytest.mark.parametrize("what", [sight.AccountSight, sight.Asked, sight.Headers, sight.Seen])
def test_what_they_are_handed_is_plain_and_frozen(what):
    assert what.__dataclass_params__.frozen
    assert {field.type for field in dataclasses.fields(what)} <= PLAIN


@pytest.mark.parametrize("policy", [Ours, RoundRobin, Shuffle, LeastBusy, StickyHash, LowestLatency])
def test_each_is_made_of_sights_alone(policy):
    parameters = inspect.signature(policy.__init__).parameters
    assert {p.annotation for name, p in parameters.items() if name != "self"} <= {
        "Sequence[AccountSight]",
        "Random",
        "float",
        "int",
    }
