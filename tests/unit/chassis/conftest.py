"""What tests of traces share."""

from __future__ import annotations

import pytest

from penstock_chassis import tracing
from penstock_chassis.tracing import Sampling, Tracer


class Kept:
    def __init__(self):
        self.spans = []

    def put(self, spans):
        self.spans += spans


@pytest.fixture
def kept():
    kept = Kept()
    tracing.activate(Tracer(Sampling(0.0, parent_based=True), kept))
    yield kept
    tracing.activate(None)
