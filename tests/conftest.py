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


# What takes minutes and mostly waits begins first, so that nobody waits for it alone at the end.
_LONGEST = ("limits-minutes", "books", "operator-processes", "image", "scale", "scraped")


def _place(item: pytest.Item) -> int:
    """Return a test's place in the order: those of long groups first, all others as they were found."""
    group = item.get_closest_marker("xdist_group")
    name = group.args[0] if group is not None and group.args else ""
    return _LONGEST.index(name) if name in _LONGEST else len(_LONGEST)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, and keep tests of one xdist_group on one worker.

    pytest-xdist 3.8 writes a test's group where pytest 9.2 no longer reads it, and then deals the tests out one by one
    (pytest-dev/pytest-xdist#1386). Away with this once it does so itself, which the condition notices.
    """
    items.sort(key=_place)
    if not config.getoption("loadgroup", default=False):
        return
    for item in items:
        group = item.get_closest_marker("xdist_group")
        if group is not None and "@" not in item.nodeid.rpartition("]")[2].rpartition("::")[2]:
            item._id = type(item.id).parse(f"{item.nodeid}@{group.args[0]}")
