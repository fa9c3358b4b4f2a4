"""The real books and the real picture fit the seams that the plane is written against."""

from __future__ import annotations

import inspect

import pytest

from penstock_edge import seams
from penstock_edge.admission import Admission
from penstock_edge.outcomes import Reporter
from penstock_edge.settlement import Settlement
from penstock_edge.snapshot import RouterView
from penstock_edge.spool import Spool


@pytest.mark.parametrize(
    ("seam", "real"),
    [
        (seams.Admission, Admission),
        (seams.Spool, Spool),
        (seams.Settlement, Settlement),
        (seams.View, RouterView),
        (seams.Reports, Reporter),
    ],
)
def test_each_method_is_there_with_the_same_parameters(seam, real):
    for name, wanted in inspect.getmembers(seam, inspect.isfunction):
        if name.startswith("_"):
            continue
        given = inspect.signature(getattr(real, name)).parameters
        for parameter in inspect.signature(wanted).parameters:
            assert parameter in given, f"{real.__name__}.{name} takes no {parameter}"
