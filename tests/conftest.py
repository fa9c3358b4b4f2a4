"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

from tests.effort import EXAMPLES

# Thirty examples of each property find what hundreds find, run after run, in a third of the time; before a release,
# PENSTOCK_TEST_EXAMPLES=500 makes it thorough. No deadline for one example: the machine may be busy.
settings.register_profile("usual", max_examples=EXAMPLES, deadline=None)
settings.load_profile("usual")
