"""Compiled modules are told from sources by what was loaded."""

from __future__ import annotations

import sysconfig
from types import ModuleType

from penstock_chassis import compiled

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def module(name: str, file: str | None) -> ModuleType:
    made = ModuleType(name)
    made.__file__ = file
    return made


def test_counts_our_compiled_modules_and_no_others() -> None:
    loaded = [
        module("penstock_edge", "/x/penstock_edge/__init__.py"),
        module("penstock_edge.relay", f"/x/penstock_edge/relay{SUFFIX}"),
        module("penstock_edge.sse", f"/x/penstock_edge/sse{SUFFIX}"),
        module("penstock_edge.compiled__mypyc", f"/x/penstock_edge/compiled__mypyc{SUFFIX}"),
        module("penstock_edge.main", "/x/penstock_edge/main.py"),
        module("penstock_namespace", None),
        module("uvloop.loop", f"/x/uvloop/loop{SUFFIX}"),
    ]
    assert compiled.count({one.__name__: one for one in loaded}) == 2


def test_counts_none_where_all_are_sources() -> None:
    assert compiled.count() == 0
