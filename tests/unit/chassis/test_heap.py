"""When a heap is trimmed, and that the system gets its memory back."""

import subprocess
import sys

import pytest

from penstock_chassis import heap
from penstock_chassis.heap import Trimming

MB = 1024 * 1024


class Figures:
    """A heap that is told what it has."""

    def __init__(self, spare: int, kept: int) -> None:
        self.now = spare
        self.kept = kept
        self.trims = 0

    def spare(self) -> int:
        return self.now

    def trim(self) -> None:
        self.trims += 1
        self.now = self.kept


def test_it_is_trimmed_once_and_then_left_alone_while_little_gathers():
    figures = Figures(60 * MB, kept=50 * MB)
    trimming = Trimming(figures, worth=8 * MB)
    for spare in (60, 50, 55, 57):
        figures.now = spare * MB
        trimming.look()
    assert figures.trims == 1


def test_it_is_trimmed_again_when_enough_has_gathered_since():
    figures = Figures(60 * MB, kept=50 * MB)
    trimming = Trimming(figures, worth=8 * MB)
    for spare in (60, 58, 57, 58):
        figures.now = spare * MB
        trimming.look()
    assert figures.trims == 3


def test_what_gathers_is_measured_from_the_least_that_there_was():
    figures = Figures(60 * MB, kept=50 * MB)
    trimming = Trimming(figures, worth=8 * MB)
    for spare in (60, 45, 53):
        figures.now = spare * MB
        trimming.look()
    assert figures.trims == 2


PEAK = """
from penstock_chassis import heap
real = heap.here()
trimming = heap.Trimming(real)
trimming.look()
blocks = [bytearray(50_000) for _ in range(1000)]
between = blocks[::50]
held = real.spare()
del blocks
freed = real.spare()
trimming.look()
print(freed - held, freed - real.spare())
"""


@pytest.mark.skipif(heap.here() is None, reason="another C library")
def test_what_a_peak_left_goes_back_to_the_system():
    told = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True).stdout
    gathered, given_back = map(int, told.split())
    assert gathered > 40 * MB
    assert given_back > 0.9 * gathered
