"""Counters and histograms that cost next to nothing to count with: plain integers, made into samples at a scrape."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

Labels = tuple[str, ...]


class Counts:
    """A counter by label values."""

    __slots__ = ("_family", "_labels", "_values")

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self._family = (name, text)
        self._labels = labels
        self._values: dict[Labels, list[int]] = {} if labels else {(): [0]}

    def add(self, labels: Labels = (), amount: int = 1) -> None:
        """Count `amount` more."""
        self.cell(labels)[0] += amount

    def cell(self, labels: Labels = ()) -> list[int]:
        """Return where these labels are counted: whoever counts often adds to its one number."""
        found = self._values.get(labels)
        if found is None:
            found = self._values[labels] = [0]
        return found

    def family(self) -> Metric:
        """Return the samples of this moment."""
        name, text = self._family
        family = CounterMetricFamily(name, text, labels=self._labels)
        for labels, cell in list(self._values.items()):
            family.add_metric(labels, cell[0])
        return family


class Times:
    """A histogram of seconds by label values."""

    __slots__ = ("_bounds", "_family", "_labels", "_values")

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._family = (name, text)
        self._labels = labels
        self._bounds = tuple(bounds)
        self._values: dict[Labels, tuple[list[int], list[float]]] = {}

    def observe(self, labels: Labels, seconds: float) -> None:
        """Count one observation."""
        counts, total = self.cells(labels)
        counts[bisect_left(self._bounds, seconds)] += 1
        total[0] += seconds

    def cells(self, labels: Labels) -> tuple[list[int], list[float]]:
        """Return where these labels are counted: by bound, and the sum in its one number."""
        found = self._values.get(labels)
        if found is None:
            found = self._values[labels] = ([0] * (len(self._bounds) + 1), [0.0])
        return found

    def family(self) -> Metric:
        """Return the samples of this moment."""
        name, text = self._family
        family = HistogramMetricFamily(name, text, labels=self._labels)
        for labels, (counts, total) in list(self._values.items()):
            so_far = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*map(str, map(float, self._bounds)), "+Inf"), counts, strict=True):
                so_far += count
                buckets.append((bound, so_far))
            family.add_metric(labels, buckets, total[0])
        return family


class Tallies(Collector):
    """Shows counters and histograms to a registry."""

    def __init__(self, registry: CollectorRegistry, parts: Sequence[Counts | Times]) -> None:
        self._parts = tuple(parts)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return all samples of this moment."""
        return [part.family() for part in self._parts]
