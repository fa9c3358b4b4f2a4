"""The table of callers against every service that is defined."""

import importlib
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

import penstock
from penstock_chassis.callers import CALLERS, who_may_call
from penstock_chassis.identity import Component


def defined() -> set[str]:
    root = Path(next(iter(penstock.__path__)))
    modules = [".".join(path.relative_to(root.parent).with_suffix("").parts) for path in root.rglob("*_pb2.py")]
    files = [importlib.import_module(name).DESCRIPTOR for name in modules] + [health_pb2.DESCRIPTOR]
    return {
        f"/{service.full_name}/{method.name}"
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
    }


def test_every_method_has_a_row_and_every_row_a_method() -> None:
    rows = {f"/{service}/{method}" for service, methods in CALLERS.items() for method in methods}
    assert len(defined()) > 20
    assert rows == defined()
    assert all(who_may_call(method) for method in rows)


@pytest.mark.parametrize(
    ("method", "callers"),
    [
        ("/penstock.router.v1.RouterService/Watch", {"edge"}),
        ("/penstock.router.v1.RouterService/Explain", {"status", "operator"}),
        ("/penstock.router.v1.RouterService/WatchObserved", {"status", "operator"}),
        ("/penstock.router.v1.RouterService/Probe", {"operator"}),
        ("/penstock.auth.v1.AuthService/Settle", {"edge"}),
        ("/penstock.auth.v1.AuthService/Allow", {"edge"}),
        ("/penstock.auth.v1.AdminService/AddCredit", {"status"}),
        ("/grpc.health.v1.Health/Check", set(Component)),
        ("/penstock.auth.v1.AuthService/Unheard", set()),
        ("/penstock.auth.v1.Unheard/Allow", set()),
        ("", set()),
    ],
)
def test_who_may_call(method: str, callers: set[str]) -> None:
    assert who_may_call(method) == callers
