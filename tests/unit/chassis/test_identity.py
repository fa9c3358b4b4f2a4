"""Names in certificates and the components that they prove."""

import pytest

from penstock_chassis.identity import Component, components, dns_name


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["edge.penstock.internal"], {Component.EDGE}),
        (["EDGE.Penstock.Internal"], {Component.EDGE}),
        (["penstock-edge", "edge.penstock.internal", "localhost"], {Component.EDGE}),
        (["edge.penstock.internal", "status.penstock.internal"], {Component.EDGE, Component.STATUS}),
        (["*.penstock.internal"], set()),
        (["edge"], set()),
        (["edge.penstock.internal.evil.example"], set()),
        (["x.edge.penstock.internal"], set()),
        (["edge.other.internal"], set()),
        (["ledger.penstock.internal"], set()),
        ([], set()),
    ],
)
def test_only_the_exact_name_proves_a_component(names: list[str], found: set[Component]) -> None:
    assert components(names, "penstock.internal") == found


def test_every_component_is_known_by_its_own_name() -> None:
    for component in Component:
        assert components([dns_name(component, "prod.Example")], "prod.example") == {component}
