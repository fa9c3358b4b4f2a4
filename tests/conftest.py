"""What holds for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings

from tests.effort import EXAMPLES

if TYPE_CHECKING:
    import pytest

# Twenty examples of each property find what hundreds find, run after run, in a fraction of the time; before a release,
# PENSTOCK_TEST_EXAMPLES=500 makes it thorough. No deadline for one example: the machine may be busy.
settings.register_profile("usual", max_examples=EXAMPLES, deadline=None)
settings.load_profile("usual")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep tests of one xdist_group on one worker.

    pytest-xdist 3.8 writes a test's group where pytest 9.2 no longer reads it, and then deals the tests out one by one
    (pytest-dev/pytest-xdist#1386). Away with this once it does so itself, which the condition notices.
    """
    if not config.getoption("loadgroup", default=False):
        return
    for item in items:
        group = item.get_closest_marker("xdist_group")
        if group is not None and "@" not in item.nodeid.rpartition("]")[2].rpartition("::")[2]:
            item._id = type(item.id).parse(f"{item.nodeid}@{group.args[0]}")
